"""What goes where of a GoogLeNet that Caffe saved."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from deml_tf.backbones.architecture import Pieces
from deml_tf.backbones.weights.caffemodel import read_caffemodel
from deml_tf.errors import DataError, UsageError

_HEADS = "loss"  # begins the names of the classifier and of the auxiliary heads
_FIRST = "conv1/7x7_s2"


def refuse_imagenet(pieces: Pieces, prefix: str) -> None:
    """Say where the ImageNet weights are to be had, for no package holds them.

    Raises:
        UsageError: Always.
    """
    raise UsageError(
        "weights='imagenet' is not packaged for googlenet: give "
        "--weights=bvlc_googlenet.caffemodel (from the BVLC model zoo) or "
        "--weights=none."
    )


def assign_caffe(pieces: Pieces, prefix: str, path: str) -> None:
    """Put a .caffemodel's weights into the layers; see `assign`."""
    assign(pieces, read_caffemodel(path), prefix, path)


def caffe_name(layer: str) -> str:
    """Name in Caffe of a layer without its prefix: conv1_7x7_s2 -> conv1/7x7_s2."""
    return re.sub(r"^(conv\d|inception_\d[a-e])_", r"\1/", layer)


def _fitted(
    array: np.ndarray, shape: tuple[int, ...], what: str, source: str
) -> np.ndarray:
    """Give a blob its shape (out, in, h, w) or (out,), rid of old leading ones."""
    if array.shape not in (shape, (1,) * (4 - len(shape)) + shape):
        raise DataError(
            f"The weights {source} do not fit: the {what} have the shape {array.shape} "
            f"where the network's have {shape}; give GoogLeNet's, with width=1 unless "
            "they were trained with another."
        )
    return array.reshape(shape)


def assign(
    pieces: Pieces,
    state: Mapping[str, Sequence[np.ndarray]],
    prefix: str,
    source: str,
) -> None:
    """Put Caffe's blobs into the layers of `googlenet.build`.

    Kernels turn from (out, in, h, w) to (h, w, in, out). Caffe's network reads its
    images as BGR; the first kernel is turned round here, once, so that ours reads RGB
    at no cost. The classifier and the auxiliary heads (loss...) have no place and are
    left out; every other layer must find its place and every place its layer.

    Args:
        pieces: The lower and the upper piece.
        state: Blobs, weights and bias, by layers' names in Caffe.
        prefix: The layers' prefix.
        source: The file, for messages.

    Raises:
        DataError: A layer is missing, left over, or of another shape. No variable
            has changed then.
    """
    wanted = {
        caffe_name(layer.name.removeprefix(prefix)): layer
        for piece in pieces
        for layer in piece.layers
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
    arrays = []
    for name, layer in wanted.items():
        if len(state[name]) != 2:
            raise DataError(
                f"The weights {source} do not fit: {name} has {len(state[name])} blobs "
                "where weights and a bias belong; give GoogLeNet's."
            )
        shape: Any = layer.kernel.shape
        height, width, channels, count = shape
        kernel, bias = (
            _fitted(blob, shape, f"{what} of {name}", source)
            for blob, shape, what in zip(
                state[name],
                ((count, channels, height, width), (count,)),
                ("weights", "biases"),
                strict=True,
            )
        )
        if name == _FIRST:
            kernel = kernel[:, ::-1]  # BGR -> RGB
        arrays.append((layer, kernel.transpose(2, 3, 1, 0), bias))
    for layer, kernel, bias in arrays:
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
