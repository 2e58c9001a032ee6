"""The formats of an export and all that differs between them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deml_tf.cli.printing import say
from deml_tf.errors import UsageError
from deml_tf.serving import extras, int8_loss, litert_format, onnx_format, warmup
from deml_tf.serving.expected import Trained
from deml_tf.serving.parity import BOUNDS
from deml_tf.serving.proof_images import drawn_images
from deml_tf.serving.servable import Servable
from deml_tf.serving.source import Choice, Images
from deml_tf.serving.square_servable import SIGNATURE, SquareServable
from deml_tf.serving.trial import Trial, trial_of_encoded, trial_of_squares
from deml_tf.serving.version_folder import EXTRA

Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Format:
    """A format to export to.

    Attributes:
        servable: The functions that are written.
        write: Writes them into a folder; returns facts for deml.json. It gets none of
            the user's images, so that none can reach the folder.
        runtimes: Names in `fresh_process.RUNTIMES` that must run what was written.
        trial: Computes the inputs and the expected outputs for these runtimes.
        file: The file that a runtime loads; empty if it loads the folder.
        extra: The extra of setup.cfg that has its packages; empty if none is needed.
        precisions: Precisions in which the backbones can be written.
        quantizations: Values of `quantize` that it supports.
        measure: Measures what quantization costs; returns facts for deml.json.
    """

    servable: type[Servable]
    write: Callable[[Any, Path, Choice], Facts]
    runtimes: tuple[str, ...]
    trial: Callable[[Trained, Sequence[bytes]], Trial]
    file: str = ""
    extra: str = ""
    precisions: tuple[str, ...] = ("float32",)
    quantizations: tuple[str, ...] = ("none",)
    measure: Callable[[Any, Path, Trial, Choice, Images], Facts] | None = None


def check_format(name: str, precision: str | None, quantize: str) -> None:
    """Refuse, before long work, what a format cannot do.

    Args:
        name: One of `FORMATS`.
        precision: The requested precision; None for the default.
        quantize: "none" or "dynamic_int8".

    Raises:
        UsageError: The arguments do not go together, or packages are missing.
    """
    form = FORMATS[name]
    if quantize not in form.quantizations:
        fit = [n for n, f in FORMATS.items() if quantize in f.quantizations]
        raise UsageError(
            f"quantize={quantize} is for format={' or '.join(fit)}, not {name}."
        )
    if precision not in (None, *form.precisions):
        raise UsageError(
            f"precision={precision}: format={name} is written in "
            f"{' or '.join(form.precisions)}, as its runtime multiplies in nothing "
            "shorter; leave precision out."
        )
    if form.extra:
        extras.require_extra(form.extra)


def _write_saved_model(servable: Servable, folder: Path, choice: Choice) -> Facts:
    servable.save(folder)
    requests = warmup.write_warmup(
        folder / EXTRA / warmup.FILE,
        choice.name,
        drawn_images(max(warmup.BATCH_SIZES)),
        choice.warmup_requests,
    )
    return {"warmup": {"requests": requests, "images": "drawn"}}


def _write_litert(servable: SquareServable, folder: Path, choice: Choice) -> Facts:
    litert_format.write_litert(servable, folder, choice.quantize != "none")
    return {}


def _write_onnx(servable: SquareServable, folder: Path, choice: Choice) -> Facts:
    onnx_format.write_onnx(servable, folder / onnx_format.FILE)
    return {}


def _measure_int8(
    servable: SquareServable,
    folder: Path,
    trial: Trial,
    choice: Choice,
    images: Images,
) -> Facts:
    measured = int8_loss.measure(
        (folder / litert_format.FILE, folder / litert_format.INT8_FILE),
        np.asarray(trial.inputs[SIGNATURE]),
        images.held_out,
        servable.geometry,
        choice.false_accept_rate,
    )
    say(int8_loss.as_sentence(measured))
    return {"int8": measured}


FORMATS: Mapping[str, Format] = {
    "saved_model": Format(
        Servable,
        _write_saved_model,
        ("python", "session"),
        trial_of_encoded,
        precisions=tuple(BOUNDS),
    ),
    "litert": Format(
        SquareServable,
        _write_litert,
        ("LiteRT",),
        trial_of_squares,
        file=litert_format.FILE,
        extra="litert",
        quantizations=("none", "dynamic_int8"),
        measure=_measure_int8,
    ),
    "onnx": Format(
        SquareServable,
        _write_onnx,
        ("onnxruntime",),
        trial_of_squares,
        file=onnx_format.FILE,
        extra="onnx",
    ),
}
