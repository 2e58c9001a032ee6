"""Makes a run's embedder servable: `python -m deml_tf.export --run_dir=R`."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from absl import flags

from deml_tf.cli import command
from deml_tf.config import Configs
from deml_tf.data.selection import read_split
from deml_tf.data.splits import Split
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import core_of, scales_and_learners
from deml_tf.models.load import load_embedder
from deml_tf.models.parts import chosen, precision_of, with_precision
from deml_tf.runs.finished import open_finished
from deml_tf.runs.folder import RunFolder
from deml_tf.serving import (
    extras,
    file_parity,
    int8_loss,
    litert_format,
    metadata,
    onnx_format,
    parity,
    proof_images,
    threshold,
    version_folder,
    warmup,
)
from deml_tf.serving.servable import Servable
from deml_tf.serving.square_servable import SquareServable, describe_preparation

FLAGS = flags.FLAGS
MODELS = Path("export") / "models"


@dataclasses.dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        name: The model's name on the server, if nothing else is said.
        embedder: The trained embedder with all its parts.
        run: Its run, if it is of one.
        configs: The run's flags.
    """

    name: str
    embedder: keras.Model
    run: RunFolder | None = None
    configs: Configs | None = None


@dataclasses.dataclass(frozen=True)
class Choice:
    """How it is exported: the flags, checked against the embedder."""

    scales: tuple[int, ...]
    learners: tuple[int, ...]
    precision: str
    false_accept_rate: float
    warmup_requests: int
    quantize: str = "none"


def main(arguments):
    """Loads, cuts to size, writes, proves and publishes."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    started = time.monotonic()
    threshold.check_rate(FLAGS.false_accept_rate)
    warmup.check_warmup(FLAGS.warmup_requests)
    check_format(FLAGS.format, FLAGS.precision, FLAGS.quantize)
    scales = whole_numbers("scales", FLAGS.scales)
    learners = whole_numbers("learners", FLAGS.learners)
    source = read_source(FLAGS.run_dir, FLAGS.embedder)
    counts = scales_and_learners(core_of(source.embedder))
    is_file = FLAGS.format in extras.PACKAGES
    precision = "float32" if is_file else precision_of(source.embedder)
    choice = Choice(
        chosen("scales", scales, counts[0]),
        chosen("learners", learners, counts[1]),
        FLAGS.precision or precision,
        FLAGS.false_accept_rate,
        FLAGS.warmup_requests,
        FLAGS.quantize,
    )
    base = Path(FLAGS.output_dir or MODELS / source.name)
    if is_file:  # a server looks for versions directly in the model's folder
        base /= FLAGS.format
    version = FLAGS.version
    if version is None:
        version = version_folder.next_version(base)
    target = version_folder.check_version(base, version)
    FORMATS[FLAGS.format](source, choice, target)
    print(f"Exported to {target} in {time.monotonic() - started:.0f} s.")


def export_saved_model(source: Source, choice: Choice, target: Path) -> None:
    """Exports as a SavedModel for TensorFlow Serving.

    Args:
        source: What is exported.
        choice: How.
        target: The version's folder, which must not exist.

    Raises:
        DataError: The export differs from the embedder; nothing was published.
    """
    embedder = in_precision(source, choice.precision)
    split, why_no_split = read_images(source)
    stored = (
        proof_images.stored_images(split.validation or split.train, 8) if split else []
    )
    images = stored or proof_images.drawn_images(8)
    servable = Servable(embedder, choice.scales, choice.learners)
    unknown = calibrated(source, servable, split, why_no_split, choice)
    name = target.parent.name
    with version_folder.published(target) as folder:
        extra = folder / version_folder.EXTRA
        with _step("saving"):
            servable.save(folder)
            requests = warmup.write_warmup(
                extra / warmup.FILE, name, images, choice.warmup_requests
            )
        proof = proof_images.proof_images(images)
        with _step("running it in a fresh process, comparing"):
            differences = parity.hold_to_parity(
                folder,
                embedder,
                proof,
                scales=choice.scales,
                learners=choice.learners,
                bound=parity.BOUNDS[choice.precision],
            )
        command.console().print(parity.parity_table(differences))
        parity.require(differences)
        lost = lost_by_precision(source, embedder, proof, choice)
        described = metadata.describe(
            servable,
            name=name,
            version=int(target.name),
            scales=choice.scales,
            learners=choice.learners,
            precision=choice.precision,
            threshold=unknown,
            warmup={
                "requests": requests,
                "images": "of the data set" if stored else f"drawn: {why_no_split}",
            },
            parity=parity.as_json(differences),
            difference_from_trained_precision=lost,
            **run_facts(source),
        )
        extra.mkdir(exist_ok=True)
        (extra / metadata.FILE).write_text(json.dumps(described, indent=2) + "\n")


def lost_by_precision(
    source: Source, embedder: keras.Model, proof: Sequence[bytes], choice: Choice
) -> dict[str, float] | None:
    """Says what another precision than the trained one costs; None for the same."""
    if embedder is source.embedder:
        return None
    lost = parity.precision_difference(
        source.embedder, embedder, proof, choice.scales, choice.learners
    )
    print(
        f"{choice.precision} moves an embedding by {lost['largest_difference']:.2g} at "
        f"most (cosine {lost['smallest_cosine']:.4f})."
    )
    return lost


def export_file(form: str, source: Source, choice: Choice, target: Path) -> None:
    """Exports as a file for another runtime, with deml.json beside it.

    Args:
        form: "litert" or "onnx".
        source: What is exported.
        choice: How.
        target: The version's folder, which must not exist.

    Raises:
        DataError: The export differs from the embedder; nothing was published.
    """
    embedder = in_precision(source, choice.precision)
    split, why_no_split = read_images(source)
    held_out = split.validation if split else ()
    stored = proof_images.stored_images(held_out or split.train, 8) if split else []
    servable = SquareServable(embedder, choice.scales, choice.learners)
    is_rounded = choice.quantize != "none"
    rounded = None
    unknown = calibrated(source, servable, split, why_no_split, choice)
    with version_folder.published(target) as folder:
        path = folder / {"litert": litert_format, "onnx": onnx_format}[form].FILE
        with _step("converting"):
            if form == "litert":
                litert_format.write_litert(servable, folder, is_rounded)
            else:
                onnx_format.write_onnx(servable, path)
        proof = proof_images.proof_images(stored or proof_images.drawn_images(8))
        with _step(f"running it in {file_parity.RUNTIMES[form]}, comparing"):
            squares = file_parity.proof_squares(proof, servable)
            differences = file_parity.hold_file_to_parity(
                form,
                path,
                embedder,
                squares,
                scales=choice.scales,
                learners=choice.learners,
            )
        command.console().print(parity.parity_table(differences))
        parity.require(differences)
        lost = lost_by_precision(source, embedder, proof, choice)
        if is_rounded:
            with _step("measuring what 8 bits cost"):
                rounded = int8_loss.measure(
                    path,
                    folder / litert_format.INT8_FILE,
                    squares,
                    held_out,
                    servable.geometry,
                    choice.false_accept_rate,
                )
            print(int8_loss.as_sentence(rounded))
        sizes = {f.name: f.stat().st_size for f in sorted(folder.iterdir())}
        described = metadata.describe(
            servable,
            name=target.parent.parent.name,
            version=int(target.name),
            scales=choice.scales,
            learners=choice.learners,
            precision=choice.precision,
            format=form,
            runtime=extras.versions(form),
            file_bytes=sizes,
            threshold=unknown,
            int8=rounded,
            parity=parity.as_json(differences),
            difference_from_trained_precision=lost,
            **run_facts(source),
        )
        described["preprocessing"] = describe_preparation(servable)
        (folder / metadata.FILE).write_text(json.dumps(described, indent=2) + "\n")
    for name, size in sizes.items():
        print(f"{name}: {size / 1e6:.1f} MB")


FORMATS = {
    "saved_model": export_saved_model,
    **{form: functools.partial(export_file, form) for form in extras.PACKAGES},
}


def check_format(form: str, precision: str | None, quantize: str) -> None:
    """Refuses what a format cannot do, before long work.

    Args:
        form: One of `FORMATS`.
        precision: As asked for; None for the default.
        quantize: "none" or "dynamic_int8".

    Raises:
        UsageError: The flags do not go together, or the format's extra is missing.
    """
    if quantize != "none" and form != "litert":
        raise UsageError(f"--quantize={quantize} is for --format=litert, not {form}.")
    if form not in extras.PACKAGES:
        return
    if precision not in (None, "float32"):
        raise UsageError(
            f"--precision={precision}: --format={form} is written in float32, as its "
            "runtime multiplies in nothing shorter; leave the flag out."
        )
    extras.require_extra(form)


def read_source(run_dir: str | None, embedder: str | None) -> Source:
    """Loads a finished run's embedder, or one by itself.

    Args:
        run_dir: The run's folder, or None.
        embedder: An `embedder.keras`, or None.

    Raises:
        UsageError: Both or none are given, or the run is not finished.
        DataError: What is there cannot be read.
    """
    if bool(run_dir) == bool(embedder):
        raise UsageError("Give either --run_dir, or --embedder=FILE.keras.")
    if embedder:
        return Source(Path(embedder).stem, load_embedder(embedder))
    run, configs = open_finished(str(run_dir))
    name = run.path.resolve().name
    return Source(name, load_embedder(run.embedder_path), run, configs)


def whole_numbers(name: str, listed: list[str] | None) -> tuple[int, ...] | None:
    """Reads a list flag of numbers.

    Args:
        name: The flag's.
        listed: As absl reads it; None if the flag is not given.

    Raises:
        UsageError: Something else than whole numbers.
    """
    if listed is None:
        return None
    try:
        return tuple(int(number) for number in listed)
    except ValueError:
        raise UsageError(
            f"--{name}={','.join(listed)}: give whole numbers from 0, separated by "
            "commas."
        ) from None


def in_precision(source: Source, precision: str) -> keras.Model:
    """The embedder in a precision, see `with_precision`.

    Raises:
        UsageError: An embedder by itself would have to change its precision.
    """
    if source.configs is None:
        found = precision_of(source.embedder)
        if precision != found:
            raise UsageError(
                f"--precision={precision} needs --run_dir: an embedder by itself, this "
                f"one in {found}, does not say how it was built."
            )
        return source.embedder
    return with_precision(source.embedder, source.configs.model, precision)


def read_images(source: Source) -> tuple[Split | None, str]:
    """The split of the run's data set; None and the reason where it is not at hand."""
    if source.run is None or source.configs is None:
        return (
            None,
            "an embedder by itself has no data set (export its run with --run_dir)",
        )
    data = source.configs.data
    if data.data_dir and not Path(data.data_dir).expanduser().exists():
        # Not read on: plumage would be drawn anew.
        return None, (
            f"the run's data set is not at {data.data_dir} (put it there, and start "
            "the export in the folder in which the training was started)"
        )
    try:
        return read_split(data, source.configs.train.seed), ""
    except (DataError, UsageError) as error:
        return None, f"the run's data set cannot be read ({error})"


def calibrated(
    source: Source, servable: Servable, split: Split | None, reason: str, choice: Choice
) -> dict[str, Any]:
    """The threshold for "unknown"; a cosine of None and the reason where none can be.

    Args:
        source: What is exported.
        servable: As it will be served.
        split: Of the data set, if it is at hand.
        reason: Why it is not.
        choice: With the share of false accepts.
    """
    if split is None or source.configs is None:
        return {"cosine": None, "reason": reason}
    if not split.validation:
        return {
            "cosine": None,
            "reason": (
                "the run held no classes out (train with --validation_classes=0.1); "
                "images of classes trained on would give a threshold too high"
            ),
        }
    batch_size = source.configs.score.scoring_batch_size
    rate = choice.false_accept_rate
    try:
        return threshold.from_classes(servable, split.validation, rate, batch_size)
    except DataError as error:
        return {"cosine": None, "reason": str(error)}


def run_facts(source: Source) -> dict[str, Any]:
    """What `results.json` knows of the model and its scores; nothing without a run."""
    if source.run is None:
        return {"model": None, "dataset": None, "protocol": None, "test": None}
    results = source.run.read_json("results.json")
    facts = {name: results.get(name) for name in ("model", "dataset", "protocol")}
    # Of the whole embedder in the precision it was trained in.
    return facts | {"test": results.get("test"), "run": source.run.path.resolve().name}


@contextlib.contextmanager
def _step(title: str):
    """Shows what is being done, and at its end how long it took."""
    started = time.monotonic()
    with command.console().status(f"{title} ..."):
        yield
    print(f"{title}: {time.monotonic() - started:.0f} s")


def cli():
    """Defines the flags and runs: what `deml-tf-export` starts."""
    flags.DEFINE_string("run_dir", None, "Folder of the finished run to export.")
    flags.DEFINE_string("embedder", None, "An embedder.keras, in place of --run_dir.")
    flags.DEFINE_enum(
        "format",
        "saved_model",
        sorted(FORMATS),
        "What to write: saved_model for TensorFlow Serving; litert or onnx, a file "
        "that takes prepared squares (the extra of that name is needed).",
    )
    flags.DEFINE_enum(
        "quantize",
        "none",
        ["none", "dynamic_int8"],
        "With --format=litert: dynamic_int8 writes a second file, with weights of 8 "
        "bits, and says what they cost.",
    )
    flags.DEFINE_string(
        "output_dir",
        None,
        "Folder of the model, in which versions are folders, of a file in a folder of "
        "the format's name; default export/models/NAME after the run.",
    )
    flags.DEFINE_integer("version", None, "Version; default the next free one.")
    flags.DEFINE_list("scales", None, "Scales to keep, from 0; default all.")
    flags.DEFINE_list("learners", None, "Learners to keep, from 0; default all.")
    flags.DEFINE_enum(
        "precision",
        None,
        sorted(parity.BOUNDS),
        "Arithmetic of the backbones; default as trained.",
    )
    flags.DEFINE_float(
        "false_accept_rate",
        0.01,
        "Share of images of unknown classes that the threshold lets pass.",
    )
    flags.DEFINE_integer(
        "warmup_requests",
        4,
        "Warm-up requests of each batch size, 1 and 8; 0 writes none.",
    )
    command.run(main)


if __name__ == "__main__":
    cli()
