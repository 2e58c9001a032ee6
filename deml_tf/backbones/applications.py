"""The networks of keras.applications, each in two pieces.

https://keras.io/api/applications. DeML uses none of them; the paper's backbone is
GoogLeNet. Each is built by Keras and copied with names, seeds and types of our own.
"""

import re
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from deml_tf.backbones.architecture import Architecture, Pieces
from deml_tf.backbones.graph_cut import cut_in_two
from deml_tf.backbones.weights import applications
from deml_tf.errors import UsageError

# The default first: the last block on the grid of 16 pixels a position, as the authors'
# inception_4b lies on that grid. So the learners share all but the last stage, and
# each still has that to itself. Then places on the same grid that leave a learner
# more, and one on the grid of 8 pixels, the authors' other place (pool3).
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
    """Spell a function of keras.applications as a backbone: ResNet50V2, resnet50_v2."""
    name = name.replace("Net", "net").replace("NeXt", "next")
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


APPLICATIONS: dict[str, Callable[..., keras.Model]] = {
    snake_case(name): function
    for name, function in vars(keras.applications).items()
    if name[0].isupper()
}


def architecture(name: str) -> Architecture:
    """Describe a network of keras.applications to `build_backbone`.

    Gates start near one (bias 3) in front of norms, as all but VGG have them: frozen
    BatchNorm expects the averages it was trained on, which halved features miss, and
    behind a LayerNorm halved features weigh less against the residual branches. VGG
    has no norm, like GoogLeNet, and starts at the release's one half.

    Args:
        name: A key of `APPLICATIONS`.
    """
    return Architecture(
        build=partial(build, name),
        cut_layers=CUTS.get(name, ()),
        gate_bias=0.0 if name.startswith("vgg") else 3.0,
        imagenet=partial(applications.assign_imagenet, name, APPLICATIONS[name]),
        minimum_size=_MINIMUM.get(name, 32),
        readers={".h5": partial(applications.assign_h5, name, APPLICATIONS[name])},
        any_cut_layer=True,
    )


def build(
    name: str,
    input_size: int,
    cut_layer: str | None,
    seed: int,
    momentum: float,
    prefix: str,
    dtype: keras.DTypePolicy,
) -> Pieces:
    """Build the network's two pieces; `backbone.build_backbone` explains them.

    Layers that drop (EfficientNet's residual branches, in training alone) stay, with a
    seed of their own by name, so that copies draw alike.

    Returns:
        lower: images (b, input_size, input_size, 3), RGB 0..255 -> U, with Keras's
        own preprocessing of the pixels.
        upper: U -> [last clean cut on U's grid, final map].

    Raises:
        UsageError: `cut_layer` is none or no clean cut, or the final map is one
            position.
    """
    shape = (input_size, input_size, 3)
    image: Any = keras.Input(shape, dtype="float32", name="picture")
    function = APPLICATIONS[name]
    model = function(
        include_top=False,
        weights=None,
        input_tensor=_pixels(function, image),
        input_shape=shape,
    )
    if max(model.outputs[0].shape[1:3]) < 2:
        # All of them halve five times, so 32 pixels more are one position more.
        raise UsageError(
            f"input_size={input_size} leaves a final map of one position in {name}: "
            f"give {input_size + 32} pixels."
        )

    def copy(operation: keras.Operation, given: str) -> keras.Operation:
        config: dict[str, Any] = operation.get_config() | {"name": given}
        if isinstance(operation, keras.layers.Layer):
            # bfloat16 cannot tell the pixels 200.0 and 200.5.
            island = isinstance(operation, _PIXELS)
            config["dtype"] = "float32" if island else dtype
            _seed(config, f"{seed} {given.removeprefix(prefix)}")
        if isinstance(operation, keras.layers.BatchNormalization):
            config["momentum"] = momentum
        if getattr(operation, "groups", 1) > 1:
            return keras.layers.DepthwiseConv2D.from_config(_depthwise(config))
        return type(operation).from_config(config)

    return cut_in_two(model, cut_layer, name, prefix, copy)


_PIXELS = (keras.layers.Rescaling, keras.layers.Normalization)


def _pixels(function: Callable[..., keras.Model], image: Any) -> Any:
    """Put the `preprocess_input` that goes with a network into layers.

    Each is affine in the channels or their reverse (or nothing, where the network
    does it itself), so its values at black and at one of each primary tell all.
    """
    family = applications.family(function)
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


def _depthwise(config: dict[str, Any]) -> dict[str, Any]:
    """Turn ConvNeXt's convolution in groups of one channel into what that is.

    Keras compiles one in groups by XLA on a CPU, where that takes minutes in training.
    """
    assert config["groups"] == config["filters"]
    return {
        re.sub("^kernel_(?!size)", "depthwise_", key): value
        for key, value in config.items()
        if key not in ("groups", "filters")
    }


def _seed(config: dict[str, Any], name: str) -> None:
    """Seed a layer's dropping and each of its initializers by a name."""
    if "seed" in config:
        config["seed"] = zlib.crc32(name.encode())
    for key, value in config.items():
        if key.endswith("_initializer") and "seed" in (value or {}).get("config", {}):
            value["config"]["seed"] = zlib.crc32(f"{name} {key}".encode())
