"""The networks of keras.applications (https://keras.io/api/applications).

DeML uses none of them; the paper's backbone is GoogLeNet.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from deml_tf.backbones.architecture import Architecture
from deml_tf.backbones.weights import keras_applications
from deml_tf.errors import UsageError

# The default comes first: the last block on the grid of 16 pixels per position, where
# the authors' inception_4b lies. So the learners share all but the last stage, which
# each still has to itself. Then follow places on the same grid that leave a learner
# more, and one on the grid of 8 pixels, like the authors' other place (pool3).
CUTS = {
    "resnet50": (
        "conv4_block6_out",
        "conv4_block4_out",
        "conv4_block2_out",
        "conv3_block4_out",
    ),
    "inception_v3": ("mixed7", "mixed6", "mixed5", "mixed4", "mixed3", "mixed2"),
    "mobilenet_v2": (
        "block_12_add",
        "block_11_add",
        "block_10_project_BN",
        "block_9_add",
        "block_5_add",
    ),
    "efficientnet_b0": (
        "block5c_add",
        "block5b_add",
        "block5a_project_bn",
        "block4c_add",
        "block3b_add",
    ),
    "convnext_tiny": (
        "convnext_tiny_stage_2_block_8_identity_add",
        "convnext_tiny_stage_2_block_5_identity_add",
        "convnext_tiny_stage_2_block_2_identity_add",
        "convnext_tiny_stage_1_block_2_identity_add",
    ),
}
_MINIMUM = {"inception_v3": 75, "inception_resnet_v2": 75, "xception": 71}


def snake_case(name: str) -> str:
    """Turn a name of keras.applications into a backbone's: ResNet50V2, resnet50_v2."""
    name = name.replace("Net", "net").replace("NeXt", "next")
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


APPLICATIONS: dict[str, Callable[..., keras.Model]] = {
    snake_case(name): function
    for name, function in vars(keras.applications).items()
    if name[0].isupper()
}


def architecture(name: str) -> Architecture:
    """Describe a network of keras.applications to `build_backbone`.

    Gates start near one (bias 3) in networks with norms, which are all but VGG: frozen
    BatchNorm expects the averages it was trained on, which halved features miss, and
    after a LayerNorm halved features weigh less against the residual branches. VGG has
    no norm, like GoogLeNet, and starts at the release's one half.

    Args:
        name: A key of `APPLICATIONS`.
    """
    function = APPLICATIONS[name]
    return Architecture(
        partial(build, name),
        cut_layers={layer: layer for layer in CUTS.get(name, ())},
        gate_bias=0.0 if name.startswith("vgg") else 3.0,
        minimum_size=_MINIMUM.get(name, 32),
        imagenet=partial(keras_applications.assign_imagenet, function),
        readers={".h5": partial(keras_applications.assign_h5, function)},
        any_cut_layer=True,
    )


def build(name: str, input_size: int) -> keras.Model:
    """Build a network without its classifier, with Keras's preprocessing of the pixels.

    Args:
        name: A key of `APPLICATIONS`.
        input_size: Side of the images, in pixels.

    Returns:
        Images (b, input_size, input_size, 3), RGB 0..255 -> last map.

    Raises:
        UsageError: The last map has only one position.
    """
    shape = (input_size, input_size, 3)
    function = APPLICATIONS[name]
    model = function(
        include_top=False,
        weights=None,
        # The name is part of the next operation's, and so of older files.
        input_tensor=_pixels(function, keras.Input(shape, name="picture")),
        input_shape=shape,
    )
    if max(model.outputs[0].shape[1:3]) < 2:
        # All of them halve five times, so 32 pixels more are one position more.
        raise UsageError(
            f"input_size={input_size} leaves a final map of one position in {name}: "
            f"give {input_size + 32} pixels."
        )
    return model


def _pixels(function: Callable[..., keras.Model], image: Any) -> Any:
    """Turn the `preprocess_input` that goes with a network into layers.

    Each is affine in the channels or their reverse (or nothing, where the network
    does it itself), so its values at black and at each primary colour determine it.
    """
    family = keras_applications.family(function)
    preprocess = getattr(keras.applications, family).preprocess_input
    offset = preprocess(np.zeros((3, 3)))[0]
    matrix = preprocess(np.eye(3)) - offset  # (channel in, channel out)
    if matrix[0, 0] == 0:
        image = keras.ops.flip(image, axis=-1)  # to BGR
    scale = matrix.sum(axis=0)
    if (scale == 1).all() and not offset.any():
        return image
    return keras.layers.Rescaling(
        scale.tolist(), offset.tolist(), dtype="float32", name="pixels"
    )(image)
