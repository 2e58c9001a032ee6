"""From encoded images to the squares the network reads, whatever the bytes are."""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from deml_tf.data.image_files import MOST_PIXELS
from deml_tf.data.images import decode_bytes
from deml_tf.layers.prepare import boxes_to_original, center_crop, fit_square
from deml_tf.models.embedder import Geometry
from deml_tf.serving.image_header import pixels

"""Images of more pixels are refused unread: decoded, these take 300 MB."""

# Images decoded at once: enough for a server's cores to have work, and few enough
# that the largest images together fit into its memory.
_AT_ONCE = 8


class Squares(NamedTuple):
    """Images made ready for the network.

    Attributes:
        images: float32 (b, s, s, 3), RGB 0..255; zeros where an image is invalid.
        valid: (b,) boolean.
        shapes: (b, 2) int32, height and width of the upright image; 1 x 1 where it
            is invalid.
    """

    images: Any
    valid: Any
    shapes: Any


def read_squares(encoded: Any, geometry: Geometry) -> Squares:
    """Decodes images, turns them upright and makes them the embedder's squares.

    Bytes that cannot be decoded, and images of more than `MOST_PIXELS`, become
    zeros and not valid: a server batches the requests of several clients, and an
    error would reach all of them.

    Args:
        encoded: (b,) strings: JPEG, PNG, GIF, BMP or WebP.
        geometry: of the embedder.

    Returns:
        The `Squares`.
    """
    # A failing operation fails the whole graph; only a dataset goes on after one. It
    # leaves the image out, so each has its number, and one too many is there for a
    # batch of which none is left. One dataset an image would cost as much again as
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
        # Where each image's row is, and the last one for those that were left out.
        last = tf.size(numbers) - 1
        rows = tf.tensor_scatter_nd_update(
            tf.fill([count + 1], last), numbers[:, None], tf.range(last + 1)
        )[:-1]
        return Squares(*(tf.gather(x, rows) for x in (images, valid, shapes)))


def restore_boxes(boxes: Any, shapes: Any, geometry: Geometry) -> tf.Tensor:
    """Takes boxes on squares back to images, each of its own size.

    Args:
        boxes: (b, i, 4), relative to the squares.
        shapes: (b, 2), height and width of the images.
        geometry: of the embedder.

    Returns:
        float32 (b, i, 4): ymin, xmin, ymax, xmax relative to the upright images.
    """
    size, side, fit = dataclasses.astuple(geometry)
    return boxes_to_original(boxes, shapes, size, side, fit)


def _read_square(encoded: Any, geometry: Geometry) -> tuple[Any, Any, Any]:
    # No bytes are no image, and it takes the decoder no time to say so.
    encoded = tf.where(pixels(encoded) <= MOST_PIXELS, encoded, b"")
    image = decode_bytes(encoded)
    square = fit_square(image, geometry.resize_size, geometry.fit)
    square = center_crop(square, geometry.input_size)
    return square, True, tf.shape(image)[:2]
