"""Put Caffe's weights of GoogLeNet into its layers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from deml_tf.backbones.backbone import Backbone
from deml_tf.backbones.weights.caffemodel import read_caffemodel
from deml_tf.errors import DataError, UsageError

_HEADS = "loss"  # prefix of the names of the classifier and of the auxiliary heads
_FIRST = "conv1/7x7_s2"


def refuse_imagenet(backbone: Backbone) -> None:
    """Say where to get the ImageNet weights, as no package holds them.

    Raises:
        UsageError: Always.
    """
    raise UsageError(
        f"weights='imagenet' is not packaged for {backbone.name}: give "
        "weights=bvlc_googlenet.caffemodel (from the BVLC model zoo) or weights=none."
    )


def assign_caffe(backbone: Backbone, path: str) -> None:
    """Put a .caffemodel's weights into the layers; see `assign`."""
    assign(backbone, read_caffemodel(path), path)


def caffe_name(layer: str) -> str:
    """Return a layer's name in Caffe: conv1/7x7_s2 for conv1_7x7_s2."""
    return re.sub(r"^(conv\d|inception_\d[a-e])_", r"\1/", layer)


def _fitted(
    array: np.ndarray, shape: tuple[int, ...], what: str, source: str
) -> np.ndarray:
    """Check a blob's shape, and drop the ones that old files put in front."""
    if array.shape not in (shape, (1,) * (4 - len(shape)) + shape):
        raise DataError(
            f"The weights {source} do not fit: the {what} have the shape {array.shape} "
            f"where the network's have {shape}; give GoogLeNet's, with width=1 unless "
            "they were trained with another."
        )
    return array.reshape(shape)


def assign(
    backbone: Backbone, state: Mapping[str, Sequence[np.ndarray]], source: str
) -> None:
    """Put Caffe's blobs into the layers of `googlenet.build`.

    Kernels turn from (out, in, h, w) to (h, w, in, out). Caffe's network reads its
    images as BGR; the first kernel is reversed here, once, so that ours reads RGB at no
    cost. The classifier and the auxiliary heads (loss...) have no place here and are
    left out; every other layer must find its place and every place its layer.

    Args:
        backbone: The network to fill in.
        state: Blobs, weights and bias, by layers' names in Caffe.
        source: The file, for messages.

    Raises:
        DataError: A layer is missing, left over, or of another shape. No variable
            has changed then.
    """
    wanted = {
        caffe_name(name): layer
        for name, layer in backbone.layers().items()
        if isinstance(layer, keras.layers.Conv2D)
    }
    given = {name for name in state if not name.startswith(_HEADS)}
    for names, what in (
        (wanted.keys() - given, "lacks"),
        (given - wanted.keys(), "holds what the network has no place for:"),
    ):
        if names:
            first, *rest = sorted(names)
            some = f"{first!r:.60}" + (f" and {len(rest)} more" if rest else "")
            raise DataError(
                f"The weights {source} are not GoogLeNet's: the file {what} {some}; "
                "give a whole bvlc_googlenet.caffemodel, or one trained from it."
            )
    arrays = {
        name: _kernel_and_bias(state[name], name, layer.kernel.shape, source)
        for name, layer in wanted.items()
    }
    for name, layer in wanted.items():
        layer.set_weights(arrays[name])


def _kernel_and_bias(
    blobs: Sequence[np.ndarray], name: str, shape: Any, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the blobs of a layer into a Keras layer's kernel and bias."""
    if len(blobs) != 2:
        raise DataError(
            f"The weights {source} do not fit: {name} has {len(blobs)} blobs "
            "where weights and a bias belong; give GoogLeNet's."
        )
    height, width, channels, count = shape
    kernel, bias = (
        _fitted(blob, shape, f"{what} of {name}", source)
        for blob, shape, what in zip(
            blobs,
            ((count, channels, height, width), (count,)),
            ("weights", "biases"),
            strict=True,
        )
    )
    if name == _FIRST:
        kernel = kernel[:, ::-1]  # BGR -> RGB
    return kernel.transpose(2, 3, 1, 0), bias
