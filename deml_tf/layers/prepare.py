"""From any RGB image to the square the network reads, and boxes back again.

XLA cannot compile this part, as it has no kernel for an antialiased resize. It can
compile everything that follows.
"""

from typing import Any

import keras
import tensorflow as tf

from deml_tf.errors import UsageError

FITS = ("squash", "pad")


def check_geometry(resize_size: int, input_size: int, fit: str) -> None:
    """Refuse a preparation that is impossible.

    Args:
        resize_size: Side of the square before the crop, in pixels.
        input_size: Side of the crop, in pixels.
        fit: How images become square.

    Raises:
        UsageError: Unknown `fit`, or sizes that do not fit each other.
    """
    if fit not in FITS:
        raise UsageError(f"fit={fit!r} is unknown; use one of {', '.join(FITS)}")
    if not 1 <= input_size <= resize_size:
        raise UsageError(
            f"input_size={input_size} does not fit into resize_size={resize_size}; "
            "sizes are at least 1, and the input size is the smaller one"
        )


def fit_square(images: Any, size: int, fit: str = "squash") -> tf.Tensor:
    """Resize images to a square, bilinear with half-pixel centres and antialiasing.

    "squash" ignores the shape of the image. "pad" scales the longer side to `size`
    and lays the image in the middle of a black square (the odd pixel of padding
    goes below and to the right). An image that already has that size keeps its values.

    The paper does not describe this step; the authors' release pads with zeros (to 256)
    without scaling, on images that were scaled by hand beforehand.

    Args:
        images: (h, w, c) or (b, h, w, c), any number type, any size.
        size: Side of the square, in pixels.
        fit: "squash" (default) or "pad".

    Returns:
        float32 (size, size, c) or (b, size, size, c), in the units of `images`.

    Raises:
        UsageError: Unknown `fit`, images of another rank, or without a pixel.
    """
    check_geometry(size, size, fit)
    images = tf.convert_to_tensor(images)
    rank = images.shape.rank
    if rank not in (3, 4):
        raise UsageError(
            f"images of shape {images.shape} are no images; give (h, w, 3) or "
            "(b, h, w, 3)"
        )
    if 0 in images.shape:
        raise UsageError(
            f"images of shape {images.shape} hold no pixel; give one image or more"
        )
    if fit == "squash":
        square = tf.image.resize(images, (size, size), antialias=True)
    else:
        extent, offset = _placement(tf.shape(images)[-3:-1], size, fit)
        image = tf.image.resize(images, extent, antialias=True)
        after = size - extent - offset
        margins = tf.stack([offset, after], axis=1)  # (2, 2): rows and columns
        none = tf.zeros([1, 2], tf.int32)
        square = tf.pad(image, tf.concat([none] * (rank - 3) + [margins, none], 0))
    return tf.ensure_shape(square, [*images.shape[:-3], size, size, images.shape[-1]])


def center_crop(images: Any, size: int) -> tf.Tensor:
    """Cut out the middle `size` x `size` pixels.

    If the number of pixels to drop is odd, the odd one is dropped at the end.

    Args:
        images: (..., h, w, c), both sides at least `size`.
        size: Side of the crop, in pixels.

    Returns:
        (..., size, size, c), same type.

    Raises:
        UsageError: A side is known to be smaller than `size`.
    """
    images = tf.convert_to_tensor(images)
    for side in images.shape[-3:-1]:
        if side is not None and side < size:
            raise UsageError(
                f"a side of {side} pixels is too small to cut {size} from; lower the "
                "input size or raise the resize size"
            )
    height, width = tf.unstack(tf.shape(images)[-3:-1])
    top, left = (height - size) // 2, (width - size) // 2
    cut = images[..., top : top + size, left : left + size, :]
    return tf.ensure_shape(cut, [*images.shape[:-3], size, size, images.shape[-1]])


def boxes_to_original(
    boxes: Any,
    original_shape: Any,
    resize_size: int,
    input_size: int,
    fit: str = "squash",
    clip: bool = True,
) -> tf.Tensor:
    """Convert boxes on the prepared square to boxes on the image it was made from.

    The inverse of `center_crop(fit_square(images, resize_size, fit), input_size)`.

    Args:
        boxes: (..., 4) as (ymin, xmin, ymax, xmax), relative to the square.
        original_shape: (h, w) of the image, in pixels; or (b, 2), one for each
            first index of boxes (b, i, 4).
        resize_size: Side of the square before the centre crop, in pixels.
        input_size: Side of the centre crop, in pixels.
        fit: How the image was made square, "squash" (default) or "pad".
        clip: Whether boxes are clipped to the image without its padding; default True.

    Returns:
        float32 (..., 4), relative to the image; within [0, 1] if they are clipped.

    Raises:
        UsageError: Unknown `fit`, or an input size above the resize size.
    """
    check_geometry(resize_size, input_size, fit)
    boxes = tf.cast(tf.convert_to_tensor(boxes), tf.float32)
    shape = tf.cast(tf.convert_to_tensor(original_shape), tf.int32)
    extent, offset = _placement(shape, resize_size, fit)
    start = tf.cast(offset - (resize_size - input_size) // 2, tf.float32)
    # y and x alternate in a box, so each pair of numbers is used twice.
    start = tf.concat([start, start], -1)
    extent = tf.cast(tf.concat([extent, extent], -1), tf.float32)
    if shape.shape.rank == 2:
        start, extent = start[:, None], extent[:, None]  # (b, 1, 4)
    found = (boxes * float(input_size) - start) / extent
    return tf.clip_by_value(found, 0.0, 1.0) if clip else found


class _OfSquares(keras.layers.Layer):
    """What `Prepare` and `RestoreBoxes` have in common."""

    def __init__(
        self,
        resize_size: int,
        input_size: int,
        fit: str = "squash",
        *,
        dtype: Any = "float32",
        **kwargs: Any,
    ):
        """Keep the arguments; see `Prepare`."""
        super().__init__(dtype=dtype, **kwargs)
        check_geometry(resize_size, input_size, fit)
        self.resize_size, self.input_size, self.fit = resize_size, input_size, fit
        # Else Keras compiles whole models with XLA on a GPU, which fails in `Prepare`.
        self.supports_jit = False

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {
            "resize_size": self.resize_size,
            "input_size": self.input_size,
            "fit": self.fit,
        }


@keras.saving.register_keras_serializable(package="deml_tf")
class Prepare(_OfSquares):
    """Turn RGB images of any size into the network's square input.

    `fit_square` to `resize_size`, then the centre `input_size` pixels: the test-time
    preparation of the paper (256 and 227 in the authors' release). Colours stay
    0..255. Always float32, whatever the global precision.

    Args:
        resize_size: Side of the square before the centre crop, in pixels.
        input_size: Side of the output, in pixels; at most `resize_size`.
        fit: "squash" (default) or "pad"; see `fit_square`.
        dtype: Leave at float32; eight bits of colour do not fit into bfloat16.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: Unknown `fit`, or sizes that do not fit each other.
    """

    def call(self, images: Any) -> tf.Tensor:
        """Prepare.

        Args:
            images: (b, h, w, 3), RGB 0..255 of any number type.

        Returns:
            (b, input_size, input_size, 3) float32, 0..255.
        """
        square = fit_square(images, self.resize_size, self.fit)
        return center_crop(square, self.input_size)

    def compute_output_shape(self, images_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (b, input_size, input_size, 3)."""
        return (*images_shape[:-3], self.input_size, self.input_size, images_shape[-1])


@keras.saving.register_keras_serializable(package="deml_tf")
class RestoreBoxes(_OfSquares):
    """Convert boxes on `Prepare`'s output to boxes on the images it was given.

    See `boxes_to_original`. Always float32, whatever the global precision.

    Args:
        resize_size: As in `Prepare`.
        input_size: As in `Prepare`.
        fit: As in `Prepare`.
        dtype: Leave at float32; pixels do not fit into bfloat16.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: Unknown `fit`, or sizes that do not fit each other.
    """

    def call(self, boxes: Any, images: Any) -> tf.Tensor:
        """Convert boxes.

        Args:
            boxes: (b, i, 4), ymin, xmin, ymax, xmax relative to the square.
            images: (b, h, w, 3), what `Prepare` was given.

        Returns:
            (b, i, 4) float32, relative to the images.
        """
        shape = tf.shape(images)[-3:-1]
        return boxes_to_original(
            boxes, shape, self.resize_size, self.input_size, self.fit
        )

    def compute_output_shape(
        self, boxes_shape: tuple[Any, ...], images_shape: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Return (b, i, 4)."""
        return boxes_shape


def _placement(shape: Any, size: int, fit: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the height and width of images in the square, and their top and left."""
    if fit == "squash":
        extent = tf.fill(tf.shape(shape), size)
    else:
        longest = tf.maximum(tf.reduce_max(shape, axis=-1, keepdims=True), 1)
        # size * side / longest, to the nearest pixel, exact in integers.
        extent = tf.maximum((2 * size * shape + longest) // (2 * longest), 1)
    return extent, (size - extent) // 2
