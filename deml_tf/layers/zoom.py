"""Zoom: cut a box out of each image and resize it, by gathers and small products.

A sample of the zoomed image is a mean of a few pixels, and `BLOCK` neighbouring samples
need few more: one window of pixels is gathered and multiplied by their weights. Weight
matrices for the whole axis would be almost all zeros and take three times as long.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.grid import check_grid

BLOCK = 16  # samples that share a window; more or fewer are slower


def hat_windows(
    start: Any, stop: Any, pixels: int, size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the weights of source pixels in `size` samples of a span, by blocks.

    weight = relu(1 - |source - pixel| / max(1, scale)), rows normalised, where source =
    pixels * (start + (sample + 1/2) / size * (stop - start)) - 1/2 and scale is the
    number of source pixels a sample covers. Pixels outside the span have no weight: its
    edge is repeated outwards.

    Args:
        start: (b,) float32, relative to the axis.
        stop: (b,) float32, relative to the axis.
        pixels: Length of the axis in pixels.
        size: Number of samples.

    Returns:
        `weights` (b, blocks, `BLOCK`, window) float32, each row summing to 1, the last
        block filled up with copies of the last sample; `window` (b, blocks, window)
        float32, the pixels that the weights are for.
    """
    blocks = -(-size // BLOCK)
    # The whole axis is the span that needs the widest window.
    widest = (BLOCK - 1) * pixels / size + 2.0 * max(1.0, pixels / size)
    width = min(pixels, math.ceil(widest) + 1)
    start = tf.clip_by_value(start, 0.0, 1.0)[:, None, None] * pixels  # (b, 1, 1)
    stop = tf.clip_by_value(stop, 0.0, 1.0)[:, None, None] * pixels
    scale = (stop - start) / size
    reach = tf.maximum(scale, 1.0)
    sample = np.minimum(np.arange(blocks * BLOCK), size - 1).reshape(1, blocks, BLOCK)
    source = start + (sample + 0.5).astype("float32") * scale - 0.5
    corner = tf.floor(source[:, :, :1] - reach)
    corner = tf.clip_by_value(corner, 0.0, float(pixels - width))
    window = corner + np.arange(width, dtype="float32")  # (b, blocks, window)
    # A box that ends on a pixel's edge must not, by rounding, take in the next one.
    first = tf.minimum(tf.floor(start + 1e-3), pixels - 1.0)
    last = tf.maximum(tf.math.ceil(stop - 1e-3) - 1.0, first)
    is_inside = (window >= first) & (window <= last)
    distance = tf.abs(source[:, :, :, None] - window[:, :, None, :])
    weights = tf.nn.relu(1.0 - distance / reach[:, :, None])
    weights = tf.where(is_inside[:, :, None, :], weights, 0.0)
    return weights / tf.reduce_sum(weights, axis=3, keepdims=True), window


def resample(lines: Any, start: Any, stop: Any, size: int) -> tf.Tensor:
    """Sample the span [start, stop] of an axis with the weights of `hat_windows`.

    Args:
        lines: (b, pixels, m) float32, pixels and m static.
        start: (b,) float32, relative to the axis of pixels.
        stop: (b,) float32, relative to the axis of pixels.
        size: Number of samples.

    Returns:
        (b, s, m) float32, where s is `size` rounded up to whole blocks; samples beyond
        `size` are copies of the last.
    """
    _, pixels, m = lines.shape
    weights, window = hat_windows(start, stop, pixels, size)
    # Within the image even where the span is NaN; the weights are NaN then too.
    index = tf.clip_by_value(tf.cast(window, tf.int32), 0, pixels - 1)
    taken = tf.gather(lines, index, axis=1, batch_dims=1)  # (b, blocks, window, m)
    samples = -(-size // BLOCK) * BLOCK
    return tf.reshape(tf.matmul(weights, taken), (-1, samples, m))


def zoom(images: Any, boxes: Any, size: int) -> tf.Tensor:
    """Cut boxes out of images and resize them bilinearly to a square.

    x_{i+1} = zoom(x_i, box_i), the step from one scale to the next (Chen & Deng, CVPR
    2019, object attention). Pixel centres are at half pixels, and the hat-shaped
    weights widen when the crop shrinks, as in `tf.image.resize(crop, antialias=True)`,
    which XLA cannot compile.

    Args:
        images: (b, h, w, c), h, w and c static; gradients flow to them.
        boxes: (b, 4), ymin, xmin, ymax, xmax relative to the image; what lies outside
            it is cut off. Gradients flow to them, for region rules that learn.
        size: Side of the result in pixels.

    Returns:
        (b, size, size, c) float32.

    Departures from the release: boxes need not fall on whole pixels.
    """
    _, h, w, c = images.shape
    images = tf.cast(images, tf.float32)
    boxes = tf.cast(boxes, tf.float32)
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    rows = resample(tf.reshape(images, (-1, h, w * c)), ymin, ymax, size)
    side = rows.shape[1]
    columns = tf.transpose(tf.reshape(rows, (-1, side, w, c)), (0, 2, 1, 3))
    columns = resample(tf.reshape(columns, (-1, w, side * c)), xmin, xmax, size)
    columns = tf.reshape(columns, (-1, side, side, c))
    return tf.transpose(columns, (0, 2, 1, 3))[:, :size, :size]


def compose_boxes(outer: Any, inner: Any) -> Any:
    """Convert boxes relative to a crop to boxes relative to the image it is cut from.

    Args:
        outer: (..., 4), the crop's box: ymin, xmin, ymax, xmax relative to the image.
        inner: (..., 4), relative to the crop.

    Returns:
        (..., 4), `inner`, relative to the image.
    """
    start, stop = outer[..., :2], outer[..., 2:]
    side = stop - start
    corners = [start + inner[..., :2] * side, start + inner[..., 2:] * side]
    return keras.ops.concatenate(corners, axis=-1)


@keras.saving.register_keras_serializable(package="deml_tf")
class Zoom(keras.layers.Layer):
    """Cut one box out of each image and resize it; float32 under any policy.

    See `zoom` for the formula.

    Args:
        size: Side of the result in pixels.
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.

    Raises:
        UsageError: If the size is below 1.
    """

    def __init__(self, size: int, **kwargs):
        """Keep the size; see the class."""
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        if size < 1:
            raise UsageError(f"size={size} is no image; use at least 1.")
        self.size = size

    def build(
        self, images_shape: tuple[Any, ...], boxes_shape: tuple[Any, ...]
    ) -> None:
        """Check that the images' height, width and channels are known.

        Args:
            images_shape: (b, h, w, c).
            boxes_shape: (b, 4).

        Raises:
            UsageError: If they are not.
        """
        check_grid("images", images_shape)
        self.built = True

    def call(self, images: Any, boxes: Any) -> tf.Tensor:
        """Zoom.

        Args:
            images: (b, h, w, c), integer or floating.
            boxes: (b, 4), ymin, xmin, ymax, xmax relative to the image.

        Returns:
            (b, size, size, c) float32.
        """
        return zoom(images, boxes, self.size)

    def compute_output_shape(
        self, images_shape: tuple[Any, ...], boxes_shape: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Return (b, size, size, c)."""
        return (images_shape[0], self.size, self.size, images_shape[3])

    def compute_output_spec(self, images: Any, boxes: Any) -> keras.KerasTensor:
        """Return (b, size, size, c) float32."""
        shape = self.compute_output_shape(images.shape, boxes.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "size": self.size}
