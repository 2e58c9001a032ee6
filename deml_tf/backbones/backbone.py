"""From a backbone's name to its two pieces, lower and upper."""

import math
import os
import re
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from deml_tf.backbones import (
    applications,
    efficientnet_lite,
    googlenet,
    vision_transformer,
)
from deml_tf.backbones.architecture import Architecture
from deml_tf.errors import DataError, UsageError

_OUTPUT_STRIDES = (32, 16)
_PADDINGS = ("same", "symmetric")
_OWN = ".weights.h5"  # what `Backbone.whole().save_weights` writes
_BATCH_NORMS = ("auto", "frozen", "train")
# With given weights the usual slow average; from nothing one that settles within the
# hundred or so steps of a short run, since it is the average that scores.
_MOMENTUM_GIVEN, _MOMENTUM_NONE = 0.99, 0.9


@dataclass(frozen=True)
class Backbone:
    """A network cut at the attention point, U = lower(x) and V = upper(U).

    Attributes:
        name: Its name in `build_backbone`.
        lower: Images (b, s, s, 3), float32 RGB 0..255 -> U (b, h, w, c). Normalises
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

    def norms(self) -> list[keras.layers.BatchNormalization]:
        """Its BatchNorms, in order."""
        layers = (*self.lower.layers, *self.upper.layers)
        inner = [getattr(layer, "norm", layer) for layer in layers]
        return [n for n in inner if isinstance(n, keras.layers.BatchNormalization)]

    def whole(self) -> keras.Model:
        """Join the pieces: images -> [mid, final].

        Its `save_weights("F.weights.h5")` writes what `weights="F.weights.h5"` reads.
        """
        prefix = self.lower.name.removesuffix("lower")
        return keras.Model(
            self.lower.inputs[0],
            self.upper(self.lower.outputs[0]),
            name=prefix + re.sub(r"\W", "_", self.name),  # vit:tiny, vit:some/folder
        )


# Names of networks, each with what the network must bring.
ARCHITECTURES = {
    "efficientnet_lite0": efficientnet_lite.ARCHITECTURE,
    "googlenet": googlenet.ARCHITECTURE,
    **{name: applications.architecture(name) for name in applications.CUTS},
}


def build_backbone(
    name: str,
    *,
    input_size: int,
    weights: str | os.PathLike[str] = "imagenet",
    width: float = 1.0,
    output_stride: int = 32,
    cut_layer: str | None = None,
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
        name: A key of `ARCHITECTURES`, another of `applications.APPLICATIONS` (such as
            densenet121, which then needs a cut_layer), or "vit:" and what
            `vision_transformer.architecture` takes.
        input_size: Side of the square images, in pixels.
        weights: "imagenet", "none" (random) or a file: a torch state dict (.pth,
            efficientnet_lite0), what Caffe saved (.caffemodel, googlenet), Keras's own
            without its classifier (.h5, keras.applications) or what
            `Backbone.whole().save_weights` wrote for the same cut (.weights.h5).
        width: Factor on every number of channels, which stay multiples of 8.
        output_stride: Pixels of the image to a position of the final map, 32 or 16.
            With 16 the last halving gives way to dilation.
        cut_layer: Where lower ends; by default the network's own choice. For
            efficientnet_lite0 "stage5" (default, the cheaper with several learners;
            14 x 14 x 112 of 224 pixels) or "stage4" (x 80); for googlenet
            "inception_4b" (default, the release's; 14 x 14 x 512 of 227 pixels) or
            "pool3" (x 480, the authors' other place); for those of keras.applications
            any layer through whose output every path goes (`applications.CUTS` has the
            defaults); for vit:... "block1" and so on, not the last (default three
            quarters in).
        batch_norm: "frozen" makes every BatchNorm untrainable, so that it runs on its
            stored averages in training too and its scale and shift stay as they are;
            "train" trains it; "auto" freezes it if weights are given. A frozen one
            stays so as long as nobody sets `trainable` on a model around it.
        padding: Of the convolutions that halve the map: "same" (TensorFlow's, with
            which the ImageNet weights were trained: more at the end) or "symmetric"
            (torch's habit), which costs them frozen recall, most on small images.
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
        name, input_size, weights, width, output_stride, cut_layer, batch_norm, padding
    )
    given = weights != "none"
    options = {"width": width, "output_stride": output_stride, "padding": padding}
    pieces = architecture.build(
        input_size=input_size,
        cut_layer=cut_layer or next(iter(architecture.cut_layers), None),
        seed=seed,
        momentum=_MOMENTUM_GIVEN if given else _MOMENTUM_NONE,
        prefix=prefix,
        dtype=keras.dtype_policies.get(dtype or keras.config.dtype_policy()),
        **{name: options[name] for name in architecture.options},
    )
    lower, upper = pieces
    backbone = Backbone(name, lower, upper, architecture.gate_bias)
    reader = architecture.readers.get(_ending(weights))
    if weights == "imagenet":
        architecture.imagenet(pieces, prefix)
    elif reader:
        reader(pieces, prefix, weights)
    elif given:
        _load_keras_weights(backbone, weights)
    frozen = batch_norm == "frozen" or (batch_norm == "auto" and given)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    for norm in backbone.norms():
        norm.trainable = not frozen
        # Statistics of the whole batch, over all replicas.
        norm.synchronized = not frozen and replicas > 1
    return backbone


def _find(name: str) -> Architecture:
    if name.startswith(vision_transformer.PREFIX):
        return vision_transformer.architecture(name)
    if name in applications.APPLICATIONS and name not in ARCHITECTURES:
        return applications.architecture(name)
    if name not in ARCHITECTURES:
        transformers = [vision_transformer.PREFIX + n for n in vision_transformer.SIZES]
        raise UsageError(
            f"backbone={name!r} is unknown: choose one of "
            f"{', '.join((*ARCHITECTURES, *transformers))}, vit:PRESET or another of "
            "keras.applications (densenet121, vgg16, resnet50_v2 ...)."
        )
    return ARCHITECTURES[name]


def _check(
    name: str,
    input_size: int,
    weights: str,
    width: float,
    output_stride: int,
    cut_layer: str | None,
    batch_norm: str,
    padding: str,
) -> Architecture:
    architecture = _find(name)
    for argument, value, choices in (
        ("output_stride", output_stride, _OUTPUT_STRIDES),
        ("batch_norm", batch_norm, _BATCH_NORMS),
        ("padding", padding, _PADDINGS),
    ):
        if value not in choices:
            raise UsageError(
                f"{argument}={value!r} is unknown for {name}: choose one of "
                f"{', '.join(map(str, choices))}."
            )
    if cut_layer and not architecture.any_cut_layer:
        if cut_layer not in architecture.cut_layers:
            raise UsageError(
                f"cut_layer={cut_layer!r} is unknown for {name}: choose one of "
                f"{', '.join(architecture.cut_layers)}."
            )
    for option, value, default in (
        ("width", width, 1.0),
        ("output_stride", output_stride, 32),
        ("padding", padding, "same"),
    ):
        if value != default and option not in architecture.options:
            raise UsageError(
                f"{option}={value} is not for {name}: leave it at {default}, or choose "
                "efficientnet_lite0."
            )
    if input_size < architecture.minimum_size:
        raise UsageError(
            f"input_size={input_size} is too small for {name}: give at least "
            f"{architecture.minimum_size} pixels."
        )
    if not (math.isfinite(width) and width > 0):
        raise UsageError(f"width={width} is no factor: give a number above 0.")
    # Where a network states no minimum of its own (vit's final map has stride 16).
    if input_size <= output_stride and architecture.minimum_size == 1:
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
    elif _ending(weights) not in (endings := (*architecture.readers, _OWN)):
        raise UsageError(
            f"weights={weights!r} is neither 'imagenet' nor 'none' nor a file ending "
            f"in {' or '.join(endings)}: give one of these."
        )
    elif not os.path.isfile(weights):
        raise UsageError(f"weights={weights!r} is no file: give the path of one.")
    return architecture


def _ending(weights: str) -> str:
    """What a file's name says of its kind: .pth, .caffemodel, .weights.h5."""
    return _OWN if weights.endswith(_OWN) else os.path.splitext(weights)[1]


def _load_keras_weights(backbone: Backbone, path: str) -> None:
    whole = backbone.whole()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of layers that keep their random weights
            whole.load_weights(path)
    except OSError as error:
        raise DataError(
            f"The weights {path} are cut short or no HDF5 file: give the whole file "
            "that save_weights wrote."
        ) from error
    except Exception as error:  # HDF5 and Keras raise a dozen kinds
        raise DataError(
            f"The weights {path} do not fit {backbone.name} as it is set up: give a "
            "file saved with the same backbone, width and cut_layer."
        ) from error
