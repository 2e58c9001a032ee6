"""An embedder as one function on prepared squares, for runtimes without our resize."""

import functools
from typing import Any

import tensorflow as tf

from deml_tf.layers.prepare import boxes_to_original, center_crop
from deml_tf.serving.servable import Servable

SIGNATURE = "images_float"
NAME = "images"


class SquareServable(Servable):
    """An embedder's float signature on images that are already squares.

    LiteRT and ONNX have no resize that antialiases as training does, so the caller
    resizes; `describe_preprocessing` says how. All that follows is in the graph: centre
    crop, normalisation of the colours, all scales, walks and zooms.

    - `images_float`: `images` `(b, s, s, 3)` float32, RGB 0..255, where s is the side
      before the centre crop, to `embedding` `(b, d)` float32, of length one, and
      `boxes` `(b, i, 4)` float32, ymin, xmin, ymax, xmax relative to the square.

    Args:
        embedder: As `build_deml` built it, in float32.
        scales: Sorted indices from 0 of the scales to keep.
        learners: Sorted indices from 0 of the learners to keep.
    """

    @property
    def side(self) -> int:
        """Side of the squares, in pixels."""
        return self.geometry.resize_size

    @functools.cached_property
    def signatures(self) -> dict[str, Any]:
        """The one function, by name."""
        spec = tf.TensorSpec((None, self.side, self.side, 3), tf.float32, NAME)
        return {SIGNATURE: tf.function(self.from_squares, [spec], autograph=False)}

    def from_squares(self, images: Any) -> dict[str, Any]:
        """Compute the signature `images_float`.

        Args:
            images: `(b, s, s, 3)`, RGB 0..255.

        Returns:
            `embedding` and `boxes`.
        """
        side, crop = self.side, self.geometry.input_size
        outputs = self._embed(center_crop(images, crop))
        boxes = boxes_to_original(outputs["boxes"], (side, side), side, crop)
        return {"embedding": outputs["embedding"], "boxes": boxes}

    def describe_preprocessing(self) -> dict[str, Any]:
        """Describe the caller's part and the file's part of preparing an image."""
        geometry, side = self.geometry, self.side
        how = (
            f"scale the image to {side} x {side} pixels, whatever its shape"
            if geometry.fit == "squash"
            else f"scale its longer side to {side} pixels and the other by the same "
            "factor, to the nearest pixel and at least one; lay it in the middle of a "
            f"black square of {side} x {side}, the odd pixel of padding below and to "
            "the right"
        )
        return {
            "by_the_caller": [
                (
                    "decode to RGB, turn upright by the EXIF orientation; training "
                    "decodes JPEG with libjpeg's accurate integer DCT, as Pillow does, "
                    'and as tf.io.decode_jpeg(..., dct_method="INTEGER_ACCURATE") '
                    "does; other decoders differ by about 1 of 255"
                ),
                how,
                (
                    "bilinear, half-pixel centres, antialiased where it shrinks: "
                    'tf.image.resize(image, size, method="bilinear", antialias=True), '
                    "or Image.resize(size, Image.Resampling.BILINEAR) of Pillow, which "
                    "also rounds to whole numbers"
                ),
                "hand over float32 RGB, 0..255, not normalised",
            ],
            "in_the_file": [
                f"the middle {geometry.input_size} x {geometry.input_size} pixels",
                "the backbone's normalisation of colours",
            ],
            "boxes": "relative to the square handed over",
            "fit": geometry.fit,
            "resize_size": side,
            "crop_size": geometry.input_size,
        }
