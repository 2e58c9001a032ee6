"""Zoom: cuts a box out of each picture and resizes it, as two matrix products."""

import keras
import tensorflow as tf

from deml_tf.errors import UsageError


def hat_weights(start, stop, pixels: int, size: int):
    """Weights of `pixels` source pixels in `size` samples of the span [start, stop].

    weight = relu(1 - |source - pixel| / max(1, scale)), rows normalised, where source =
    pixels * (start + (sample + 1/2) / size * (stop - start)) - 1/2 and scale is the
    number of source pixels a sample covers. Pixels outside the span have no weight, so
    its edge is repeated outwards.

    Args:
        start: (b,) float32, relative to the axis.
        stop: (b,) float32, relative to the axis.
        pixels: Length of the axis in pixels.
        size: Number of samples.

    Returns:
        (b, size, pixels) float32, each row summing to 1.
    """
    start = tf.clip_by_value(start, 0.0, 1.0)[:, None, None] * pixels  # (b, 1, 1)
    stop = tf.clip_by_value(stop, 0.0, 1.0)[:, None, None] * pixels
    scale = (stop - start) / size
    sample = tf.range(size, dtype=tf.float32)[None, :, None] + 0.5
    pixel = tf.range(pixels, dtype=tf.float32)[None, None, :]
    source = start + sample * scale - 0.5
    # A box that ends on a pixel's edge must not, by rounding, take in the next one.
    first = tf.minimum(tf.floor(start + 1e-3), pixels - 1.0)
    last = tf.maximum(tf.math.ceil(stop - 1e-3) - 1.0, first)
    weights = tf.nn.relu(1.0 - tf.abs(source - pixel) / tf.maximum(scale, 1.0))
    weights = tf.where((pixel >= first) & (pixel <= last), weights, 0.0)
    return weights / tf.reduce_sum(weights, axis=2, keepdims=True)


def zoom(images, boxes, size: int):
    """Cuts boxes out of images and resizes them bilinearly to a square.

    x_{i+1} = zoom(x_i, box_i), the step from one scale to the next (Chen & Deng, CVPR
    2019, object attention). Half-pixel centres and hats widened when the crop shrinks,
    as `tf.image.resize(crop, antialias=True)` has them, which XLA cannot compile.

    Args:
        images: (b, h, w, c), h and w static; gradient flows to them.
        boxes: (b, 4), ymin, xmin, ymax, xmax relative to the image; cut off outside it.
            No gradient flows to them.
        size: Side of the result in pixels.

    Returns:
        (b, size, size, c) float32.

    Departures from the release: boxes need not fall on whole pixels.
    """
    images = tf.cast(images, tf.float32)
    boxes = tf.stop_gradient(tf.cast(boxes, tf.float32))
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    down = hat_weights(ymin, ymax, images.shape[1], size)[:, None]  # (b, 1, y, h)
    across = hat_weights(xmin, xmax, images.shape[2], size)[:, None]  # (b, 1, x, w)
    planes = tf.transpose(images, (0, 3, 1, 2))  # (b, c, h, w)
    planes = tf.matmul(tf.matmul(down, planes), across, transpose_b=True)
    return tf.transpose(planes, (0, 2, 3, 1))


def compose_boxes(outer, inner):
    """Reads boxes that are relative to a crop as relative to the picture it is from.

    Args:
        outer: (..., 4), the crop's box: ymin, xmin, ymax, xmax relative to the picture.
        inner: (..., 4), relative to the crop.

    Returns:
        (..., 4), `inner` relative to the picture.
    """
    start, stop = outer[..., :2], outer[..., 2:]
    side = stop - start
    corners = [start + inner[..., :2] * side, start + inner[..., 2:] * side]
    return keras.ops.concatenate(corners, axis=-1)


@keras.saving.register_keras_serializable(package="deml_tf")
class Zoom(keras.layers.Layer):
    """Cuts one box out of each image and resizes it; float32 whatever the policy.

    See `zoom` for the formula.

    Args:
        size: Side of the result in pixels.
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.

    Raises:
        UsageError: If the size is below 1.
    """

    def __init__(self, size: int, **kwargs):
        """Keeps the size; see the class."""
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        if size < 1:
            raise UsageError(f"size={size} is no picture; use at least 1.")
        self.size = size

    def build(self, images_shape, boxes_shape):
        """Checks that the images' height and width are known.

        Args:
            images_shape: (b, h, w, c).
            boxes_shape: (b, 4).

        Raises:
            UsageError: If they are not.
        """
        if len(images_shape) != 4 or None in tuple(images_shape[1:3]):
            raise UsageError(
                f"images have shape {images_shape}; give (b, h, w, c), h and w known."
            )
        self.built = True

    def call(self, images, boxes):
        """Zooms.

        Args:
            images: (b, h, w, c), integer or floating.
            boxes: (b, 4), ymin, xmin, ymax, xmax relative to the image.

        Returns:
            (b, size, size, c) float32.
        """
        return zoom(images, boxes, self.size)

    def compute_output_shape(self, images_shape, boxes_shape):
        """(b, size, size, c)."""
        return (images_shape[0], self.size, self.size, images_shape[3])

    def compute_output_spec(self, images, boxes):
        """(b, size, size, c) float32."""
        shape = self.compute_output_shape(images.shape, boxes.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "size": self.size}
