"""From encoded images, whatever their bytes, to the squares that the network takes."""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from deml_tf.data.image_header import is_decodable
from deml_tf.data.images import decode_bytes
from deml_tf.layers.prepare import boxes_to_original, center_crop, fit_square
from deml_tf.models.embedder import Geometry

# Images decoded at once: enough for a server's cores to have work, and few enough
# that the largest images together fit into its memory.
_AT_ONCE = 8


class Squares(NamedTuple):
    """Images made ready for the network.

    Attributes:
        images: float32 `(b, s, s, 3)`, RGB 0..255; zeros where an image is invalid.
        valid: `(b,)` boolean.
        shapes: `(b, 2)` int32, height and width of the upright image; 1 x 1 where an
            image is invalid.
    """

    images: Any
    valid: Any
    shapes: Any


def read_squares(encoded: Any, geometry: Geometry) -> Squares:
    """Decode images, turn them upright and make them the embedder's squares.

    Bytes that cannot be decoded, and images that `is_decodable` refuses, become zeros
    and are marked as not valid: a server batches the requests of several clients, and
    an error would reach all of them.

    Args:
        encoded: `(b,)` strings: JPEG, PNG, GIF, BMP or WebP.
        geometry: Geometry of the embedder.

    Returns:
        The `Squares`.
    """
    # A failing operation fails the whole graph; only a dataset continues after one. It
    # leaves the image out, so each image has its number, and an extra one is added in
    # case a batch has none left. One dataset per image would cost as much again as
    # decoding.
    with tf.device("CPU:0"):
        side = geometry.input_size
        count = tf.size(encoded, tf.int64)
        nothing = (tf.zeros((side, side, 3)), False, tf.ones((2,), tf.int32))
        numbers, images, valid, shapes = (
            tf.data.Dataset.from_tensor_slices(encoded)
            .enumerate()
            .map(
                lambda number, one: (number, *_read_square(one, geometry)),
                num_parallel_calls=_AT_ONCE,
                deterministic=False,
            )
            .ignore_errors()
            .concatenate(tf.data.Dataset.from_tensors((count, *nothing)))
            .batch(count + 1)
            .get_single_element()
        )
        # The row of each image, which is the last one for those that were left out.
        last = tf.size(numbers) - 1
        rows = tf.tensor_scatter_nd_update(
            tf.fill([count + 1], last), numbers[:, None], tf.range(last + 1)
        )[:-1]
        return Squares(*(tf.gather(x, rows) for x in (images, valid, shapes)))


def make_squares(images: Any, geometry: Geometry) -> tf.Tensor:
    """Resize images of one size and cut out their middle.

    Args:
        images: `(h, w, 3)` or `(b, h, w, 3)`, RGB 0..255.
        geometry: Geometry of the embedder.

    Returns:
        float32 `(s, s, 3)` or `(b, s, s, 3)`, RGB 0..255.
    """
    square = fit_square(images, geometry.resize_size, geometry.fit)
    return center_crop(square, geometry.input_size)


def restore_boxes(boxes: Any, shapes: Any, geometry: Geometry) -> tf.Tensor:
    """Convert boxes on squares to boxes on the images.

    Args:
        boxes: `(b, i, 4)`, relative to the squares.
        shapes: `(b, 2)`, height and width of each image; `(2,)` if all have the same.
        geometry: Geometry of the embedder.

    Returns:
        float32 `(b, i, 4)`: ymin, xmin, ymax, xmax relative to the upright images.
    """
    size, side, fit = dataclasses.astuple(geometry)
    return boxes_to_original(boxes, shapes, size, side, fit)


def _read_square(encoded: Any, geometry: Geometry) -> tuple[Any, Any, Any]:
    # An empty string is no image, and the decoder refuses it in no time.
    encoded = tf.where(is_decodable(encoded), encoded, b"")
    image = decode_bytes(encoded)
    return make_squares(image, geometry), True, tf.shape(image)[:2]
