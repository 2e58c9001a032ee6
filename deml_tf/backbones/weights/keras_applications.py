"""Put the weights of keras.applications into the layers of our copies."""

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deml_tf.backbones.backbone import Backbone
from deml_tf.backbones.graph_names import named_layers
from deml_tf.errors import DataError

# With ImageNet weights Keras divides EfficientNet's normalised pixels once more, by the
# root of these; without those weights its network lacks the layer that does so.
_EFFICIENTNET_STD = (0.229, 0.224, 0.225)


def family(function: Callable[..., keras.Model]) -> str:
    """Return the module of keras.applications that a network's function is from."""
    return function.__module__.rpartition(".")[2]


def assign_imagenet(function: Callable[..., keras.Model], backbone: Backbone) -> None:
    """Put ImageNet weights into a backbone, downloaded by Keras into its cache.

    MobileNet and MobileNetV2 have weights of their own for some image sizes; at others
    Keras uses those for 224 pixels.

    Args:
        function: The network's function in keras.applications.
        backbone: The network to fill in.

    Raises:
        DataError: The file cannot be fetched, or is not the network's.
    """
    # Keras gives NASNet's weights at the default size alone.
    whole = backbone.name.startswith("nasnet")
    size = None if whole else backbone.lower.input_shape[1:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the size, see above
            source = _built(function, weights="imagenet", input_shape=size)
    except Exception as error:  # the network's and HDF5's are of a dozen kinds
        if (message := _explained(backbone.name, error)) is None:
            raise
        raise DataError(message) from error
    assign(source, function, backbone)


def assign_h5(
    function: Callable[..., keras.Model], backbone: Backbone, path: str
) -> None:
    """Put a file of Keras's own, without the classifier (`_notop.h5`), into a backbone.

    Args:
        function: The network's function in keras.applications.
        backbone: The network to fill in.
        path: The file; EfficientNet's is assumed to expect pixels as ImageNet's does.

    Raises:
        DataError: The file is not the network's.
    """
    shape = backbone.lower.input_shape[1:]
    source = _built(function, weights=None, input_shape=shape)
    try:
        source.load_weights(path)
    except Exception as error:
        raise DataError(
            f"The weights {path} are not those of {backbone.name} without its "
            "classifier: give the file that keras.applications downloads with "
            "include_top=False."
        ) from error
    assign(source, function, backbone)


def assign(
    source: keras.Model, function: Callable[..., keras.Model], backbone: Backbone
) -> None:
    """Put the weights of a whole network into a backbone, layer by layer.

    Args:
        source: What `function` built, with ImageNet weights or others of that kind.
        function: The network's function in keras.applications.
        backbone: The network to fill in.
    """
    given = named_layers(source)
    for name, layer in backbone.layers().items():
        if not layer.weights:
            continue
        arrays = [weight.numpy() for weight in given[name].weights]
        if isinstance(layer, keras.layers.DepthwiseConv2D) and not isinstance(
            given[name], keras.layers.DepthwiseConv2D
        ):  # (h, w, 1, c) of a convolution in groups -> (h, w, c, 1)
            arrays[0] = arrays[0].swapaxes(2, 3)
        if isinstance(layer, keras.layers.Normalization):
            if family(function) == "efficientnet":
                mean, variance, count = arrays
                arrays = [mean, variance * np.array(_EFFICIENTNET_STD, "f4"), count]
        layer.set_weights(arrays)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with constants made from its weights


def _built(function: Callable[..., keras.Model], **settings: Any) -> keras.Model:
    """Build in float32: under a policy such as bfloat16, weights would be rounded."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return function(include_top=False, **settings)
    finally:
        keras.config.set_dtype_policy(policy)


def _explained(name: str, error: Exception) -> str | None:
    """Say which file Keras wanted and where, as its own errors do not."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "get_file" and "origin" in frame.f_locals:
            path = Path(frame.f_locals.get("download_target", ""))
            reason: Any = error.__context__ or error
            return (
                f"weights='imagenet' of {name} cannot be downloaded "
                f"({getattr(reason, 'reason', reason)}): fetch "
                f"{frame.f_locals['origin']} by other means and put it into "
                f"{path.parent} as {path.name}, or set weights='none'."
            )
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if path := frame.f_locals.get("weights_path"):
            return (
                f"The file {path} does not hold the ImageNet weights of {name}: "
                "put the right one there, or delete it so that Keras downloads it anew."
            )
    return None
