"""From a backbone's name to its two pieces, lower and upper."""

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deml_tf.backbones import efficientnet_lite, efficientnet_lite_weights
from deml_tf.backbones.torch_state import read_torch_state
from deml_tf.errors import DataError, UsageError

_OUTPUT_STRIDES = (32, 16)
_PADDINGS = ("same", "symmetric")
_BATCH_NORMS = ("auto", "frozen", "train")
# With given weights the usual slow average; from nothing one that settles within the
# hundred or so steps of a short run, since it is the average that scores.
_MOMENTUM_GIVEN, _MOMENTUM_NONE = 0.99, 0.9


@dataclass(frozen=True)
class Backbone:
    """A network cut at the attention point, U = lower(x) and V = upper(U).

    Attributes:
        name: Its name in `build_backbone`.
        lower: Pictures (b, s, s, 3), float32 RGB 0..255 -> U (b, h, w, c). Normalises
            the pixels itself.
        upper: U -> [mid, final]: the last map on U's grid (upper's own input, where the
            cut leaves nothing between) and the last map of all.
        gate_bias: Bias that channel attention's sigmoid should start from: 0 starts the
            gates at one half, as the release does; 3 near one, which frozen BatchNorm
            with ReLU6 needs.
    """

    name: str
    lower: keras.Model
    upper: keras.Model
    gate_bias: float

    def whole(self) -> keras.Model:
        """Join the pieces: pictures -> [mid, final].

        Its `save_weights("F.weights.h5")` writes what `weights="F.weights.h5"` reads.
        """
        prefix = self.lower.name.removesuffix("lower")
        return keras.Model(
            self.lower.inputs[0],
            self.upper(self.lower.outputs[0]),
            name=f"{prefix}{self.name}",
        )


@dataclass(frozen=True)
class _Architecture:
    """What a network must bring to be a backbone."""

    build: Callable[..., tuple[keras.Model, keras.Model]]
    cuts: tuple[str, ...]  # the first is the default
    gate_bias: float
    imagenet_file: Callable[[], Path]
    assign: Callable[
        [tuple[keras.Model, ...], Mapping[str, np.ndarray], str, str], None
    ]


ARCHITECTURES = {
    "efficientnet_lite0": _Architecture(
        build=efficientnet_lite.build,
        cuts=tuple(efficientnet_lite.CUTS),
        gate_bias=3.0,
        imagenet_file=efficientnet_lite_weights.imagenet_file,
        assign=efficientnet_lite_weights.assign,
    ),
}


def build_backbone(
    name: str,
    *,
    input_size: int,
    weights: str | os.PathLike[str] = "imagenet",
    width: float = 1.0,
    output_stride: int = 32,
    cut: str | None = None,
    batch_norm: str = "auto",
    padding: str = "same",
    prefix: str = "",
    seed: int = 0,
    dtype: Any = None,
) -> Backbone:
    """Build one copy of a backbone, cut in two at the attention point.

    DeML (section 3; the authors' release) holds one such copy a scale, shared by the
    scale's learners and by no other scale; all copies start from the same weights.

    Args:
        name: A key of `ARCHITECTURES`.
        input_size: Side of the square pictures, in pixels.
        weights: "imagenet", "none" (random) or a file: a torch state dict (.pth) or
            what `Backbone.whole().save_weights` wrote for the same cut (.weights.h5).
        width: Factor on every number of channels, which stay multiples of 8.
        output_stride: Pixels of the picture to a position of the final map, 32 or 16.
            With 16 the last halving gives way to dilation.
        cut: Where lower ends. For efficientnet_lite0 "stage5" (default, the cheaper
            with several learners; 14 x 14 x 112 of 224 pixels) or "stage4" (x 80).
        batch_norm: "frozen" makes every BatchNorm untrainable, so that it runs on its
            stored averages in training too and its scale and shift stay as they are;
            "train" trains it; "auto" freezes it if weights are given. A frozen one
            stays so as long as nobody sets `trainable` on a model around it.
        padding: Of the convolutions that halve the map: "same" (TensorFlow's, with
            which the ImageNet weights were trained: more at the end) or "symmetric"
            (torch's habit), which costs them frozen recall, most on small pictures.
        prefix: Goes before every layer's name, so that copies can live in one model.
        seed: Of the random weights; copies with one seed start equal, whatever the
            prefix.
        dtype: Keras dtype or policy; None for the global policy. The pixels are
            normalised in float32 under any.

    Returns:
        The copy, built and with its weights.

    Raises:
        UsageError: An argument, or two together, make no sense here.
        DataError: The weights' file is unreadable or belongs to something else.
    """
    weights = os.fspath(weights)
    architecture = _check(
        name, input_size, weights, width, output_stride, cut, batch_norm, padding
    )
    given = weights != "none"
    lower, upper = architecture.build(
        input_size=input_size,
        width=width,
        output_stride=output_stride,
        cut=cut or architecture.cuts[0],
        seed=seed,
        momentum=_MOMENTUM_GIVEN if given else _MOMENTUM_NONE,
        padding=padding,
        prefix=prefix,
        dtype=keras.dtype_policies.get(dtype or keras.config.dtype_policy()),
    )
    backbone = Backbone(name, lower, upper, architecture.gate_bias)
    if weights == "imagenet" or weights.endswith(".pth"):
        path = str(architecture.imagenet_file()) if weights == "imagenet" else weights
        architecture.assign((lower, upper), read_torch_state(path), prefix, path)
    elif given:
        _load_keras_weights(backbone, weights)
    if batch_norm == "frozen" or (batch_norm == "auto" and given):
        for layer in (*lower.layers, *upper.layers):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    return backbone


def _check(
    name: str,
    input_size: int,
    weights: str,
    width: float,
    output_stride: int,
    cut: str | None,
    batch_norm: str,
    padding: str,
) -> _Architecture:
    if name not in ARCHITECTURES:
        raise UsageError(
            f"backbone={name!r} is unknown: choose one of {', '.join(ARCHITECTURES)}."
        )
    architecture = ARCHITECTURES[name]
    for argument, value, choices in (
        ("cut", cut or architecture.cuts[0], architecture.cuts),
        ("output_stride", output_stride, _OUTPUT_STRIDES),
        ("batch_norm", batch_norm, _BATCH_NORMS),
        ("padding", padding, _PADDINGS),
    ):
        if value not in choices:
            raise UsageError(
                f"{argument}={value!r} is unknown for {name}: choose one of "
                f"{', '.join(map(str, choices))}."
            )
    if not (math.isfinite(width) and width > 0):
        raise UsageError(f"width={width} is no factor: give a number above 0.")
    if input_size <= output_stride:
        raise UsageError(
            f"input_size={input_size} leaves a final map of one position at "
            f"output_stride={output_stride}: give more than {output_stride} pixels."
        )
    if weights in ("imagenet", "none"):
        if weights == "imagenet" and width != 1:
            raise UsageError(
                f"weights='imagenet' exist for width 1 alone, not for width={width}: "
                "set width=1 or weights='none'."
            )
    elif not weights.endswith((".pth", ".weights.h5")):
        raise UsageError(
            f"weights={weights!r} is neither 'imagenet' nor 'none' nor a file ending "
            "in .pth or .weights.h5: give one of these."
        )
    elif not os.path.isfile(weights):
        raise UsageError(f"weights={weights!r} is no file: give the path of one.")
    return architecture


def _load_keras_weights(backbone: Backbone, path: str) -> None:
    whole = backbone.whole()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of layers that keep their random weights
            whole.load_weights(path)
    except Exception as error:  # HDF5 and Keras raise a dozen kinds
        raise DataError(
            f"The weights {path} do not fit {backbone.name} as it is set up: give a "
            "file saved with the same backbone, width and cut."
        ) from error
