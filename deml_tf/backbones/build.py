"""Build a backbone by its name, as two pieces: lower and upper."""

import os
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deml_tf.backbones import (
    applications,
    efficientnet_lite,
    googlenet,
    vision_transformer,
)
from deml_tf.backbones.architecture import Architecture
from deml_tf.backbones.arguments import (
    check_size,
    check_structure,
    check_weights,
    file_ending,
)
from deml_tf.backbones.backbone import Backbone
from deml_tf.backbones.channels import channels
from deml_tf.backbones.graph_cut import cut_in_two
from deml_tf.backbones.layer_copy import LayerCopy
from deml_tf.errors import DataError, UsageError

# To add a backbone, add its line here.
BACKBONES: dict[str, Architecture] = {
    "efficientnet_lite0": efficientnet_lite.ARCHITECTURE,
    "googlenet": googlenet.ARCHITECTURE,
    "resnet50": applications.architecture("resnet50"),
    "inception_v3": applications.architecture("inception_v3"),
    "mobilenet_v2": applications.architecture("mobilenet_v2"),
    "efficientnet_b0": applications.architecture("efficientnet_b0"),
    "convnext_tiny": applications.architecture("convnext_tiny"),
    "vit:tiny": vision_transformer.architecture("vit:tiny"),
    "vit:small": vision_transformer.architecture("vit:small"),
    "vit:base": vision_transformer.architecture("vit:base"),
}
# Momentum of BatchNorm: the usual one with given weights. From random weights averages
# must settle within the hundred or so steps of a short run, since scoring uses them.
_MOMENTUM_GIVEN, _MOMENTUM_NONE = 0.99, 0.9


def build_backbone(
    name: str,
    *,
    input_size: int,
    weights: str | os.PathLike[str] = "imagenet",
    width: float = 1.0,
    output_stride: int = 32,
    cut_layer: str | None = None,
    batch_norm: str = "auto",
    prefix: str = "",
    seed: int = 0,
    dtype: Any = None,
) -> Backbone:
    """Build one copy of a backbone, cut in two at the attention point.

    DeML (section 3; the authors' release) has one such copy per scale, shared by the
    scale's learners and by no other scale; all copies start from the same weights.

    Args:
        name: A key of `BACKBONES`, another of `applications.APPLICATIONS` (such as
            densenet121, which then needs a cut_layer), or "vit:" and what
            `vision_transformer.architecture` takes.
        input_size: Side of the square images, in pixels.
        weights: "imagenet" (default), "none" (random) or a file: a torch state dict
            (.pth, efficientnet_lite0), what Caffe saved (.caffemodel, googlenet),
            Keras's own without its classifier (.h5, keras.applications) or what
            `Backbone.whole().save_weights` wrote for the same cut (.weights.h5).
        width: Factor on every number of channels, which stay multiples of 8;
            default 1.
        output_stride: Image pixels per position of the last map, 32 (default) or 16.
            With 16 the last halving is replaced by dilation.
        cut_layer: Where lower ends; by default the network's own choice. For
            efficientnet_lite0 "stage5" (default, the cheaper with several learners;
            14 x 14 x 112 at 224 pixels) or "stage4" (x 80); for googlenet
            "inception_4b" (default, the release's; 14 x 14 x 512 at 227 pixels) or
            "pool3" (x 480, the authors' other place); for those of keras.applications
            any layer through whose output every path passes (`applications.CUTS` has
            the defaults); for vit:... "block1" and so on, not the last (default three
            quarters in).
        batch_norm: "frozen" makes every BatchNorm untrainable, so that it runs on its
            stored averages in training too and its scale and shift stay as they are;
            "train" trains it; "auto" (default) freezes it if weights are given. A
            frozen one stays frozen until `trainable` is set on a model around it.
        prefix: Goes before every layer's name, so that copies can live in one model.
        seed: Seed of the random weights, default 0; copies with the same seed start
            equal, whatever the prefix.
        dtype: Keras dtype or policy; None (default) for the global policy. The pixels
            are normalised in float32 under any policy.

    Returns:
        The copy, built and with its weights.

    Raises:
        UsageError: An argument is wrong, or two do not go together.
        DataError: The weights' file is unreadable or belongs to something else.
    """
    weights = os.fspath(weights)
    options = {"width": width, "output_stride": output_stride}
    architecture = check_backbone(
        name,
        input_size=input_size,
        weights=weights,
        cut_layer=cut_layer,
        batch_norm=batch_norm,
        options=options,
    )
    cut_layer = cut_layer or next(iter(architecture.cut_layers), None)
    given = weights != "none"
    copy = LayerCopy(
        prefix,
        seed,
        momentum=_MOMENTUM_GIVEN if given else _MOMENTUM_NONE,
        dtype=keras.dtype_policies.get(dtype or keras.config.dtype_policy()),
    )
    options |= {"cut_layer": cut_layer, "seed": seed}
    taken = {k: v for k, v in options.items() if k in architecture.options()}
    # Built anew for each copy: unseeded layers draw from Python's generator, so that
    # one kept for the next copy would change what is drawn after it.
    whole = architecture.build(input_size=input_size, **taken)
    layer = architecture.cut_layers.get(cut_layer or "", cut_layer)
    pieces = cut_in_two(whole, layer, architecture.middle_layer, name, copy)
    hidden = architecture.gate_hidden
    backbone = Backbone(
        name,
        *pieces,
        architecture.gate_bias,
        None if hidden is None else channels(hidden, width),
    )
    _put_weights(backbone, architecture, weights, seed)
    _set_norms(backbone, batch_norm == "frozen" or (batch_norm == "auto" and given))
    return backbone


def check_backbone(
    name: str,
    *,
    input_size: int,
    weights: str,
    cut_layer: str | None,
    batch_norm: str,
    options: Mapping[str, Any],
) -> Architecture:
    """Find a network, and refuse wrong arguments before its layers are built.

    Whether a cut_layer beyond `Architecture.cut_layers` is a clean cut, and whether a
    file of weights fits, shows only when the backbone is built.

    Args:
        name: As for `build_backbone`.
        input_size: As there, in pixels.
        weights: As there.
        cut_layer: As there.
        batch_norm: As there.
        options: `width` and `output_stride`, as there.

    Returns:
        The network.

    Raises:
        UsageError: An argument is wrong, or two do not go together.
        DataError: A preset of keras-hub cannot be fetched or read.
    """
    architecture = _find(name)
    check_structure(name, architecture, options, cut_layer, batch_norm)
    check_size(name, architecture, input_size, options["output_stride"])
    check_weights(name, architecture, weights, options["width"])
    return architecture


def _find(name: str) -> Architecture:
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(vision_transformer.PREFIX):
        return vision_transformer.architecture(name)
    if name in applications.APPLICATIONS:
        return applications.architecture(name)
    raise UsageError(
        f"backbone={name!r} is unknown: choose one of {', '.join(BACKBONES)}, "
        "vit:PRESET or another of keras.applications (densenet121, vgg16, "
        "resnet50_v2 ...)."
    )


def _put_weights(
    backbone: Backbone, architecture: Architecture, weights: str, seed: int
) -> None:
    """Load the requested weights into a new backbone."""
    reader = architecture.readers.get(file_ending(weights), _read_own)
    if weights == "none":
        if architecture.randomise:
            architecture.randomise(backbone, seed)
        return
    if weights == "imagenet":
        assert architecture.imagenet
        architecture.imagenet(backbone)
    else:
        reader(backbone, weights)
    check_numbers(backbone, weights)


def check_numbers(backbone: Backbone, weights: str) -> None:
    """Refuse weights with which every embedding would be NaN.

    Args:
        backbone: The network, with its weights.
        weights: Where its weights come from, for messages.

    Raises:
        DataError: A weight is not finite, or a variance negative.
    """
    for name, layer in backbone.layers().items():
        wrong = None
        values = layer.get_weights()
        variances = [v for v in layer.weights if v.name == "moving_variance"]
        if not all(np.isfinite(value).all() for value in values):
            wrong = "NaN or infinity"
        elif any(np.any(np.asarray(variance) < 0) for variance in variances):
            wrong = "a negative variance"
        if wrong:
            raise DataError(
                f"The weights {weights} of {backbone.name} are spoilt, for {name} "
                f"holds {wrong}: give an undamaged file."
            )


def _read_own(backbone: Backbone, path: str) -> None:
    """Read what `backbone.whole().save_weights` wrote."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of layers that keep their random weights
            backbone.whole().load_weights(path)
    except OSError as error:
        raise DataError(
            f"The weights {path} are cut short or no HDF5 file: give the whole file "
            "that save_weights wrote."
        ) from error
    except Exception as error:  # HDF5 and Keras raise a dozen kinds of error
        raise DataError(
            f"The weights {path} do not fit {backbone.name} as it is set up: give a "
            "file saved with the same backbone, width and cut_layer."
        ) from error


def _set_norms(backbone: Backbone, frozen: bool) -> None:
    """Freeze the BatchNorms, or let them average over the batches of all replicas."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    for norm in backbone.norms():
        norm.trainable = not frozen
        norm.synchronized = not frozen and replicas > 1
