"""The functions that a server offers: from encoded images or pixels to embeddings."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deml_tf.data.image_limits import MOST_BYTES, MOST_PIXELS
from deml_tf.kernels.inference_twin import inference_twins
from deml_tf.models.embedder import core_of, geometry_of
from deml_tf.models.parts import part_core
from deml_tf.serving.encoded_images import (
    make_squares,
    read_squares,
    restore_boxes,
)


class Servable(tf.Module):
    """An embedder as the functions that TensorFlow Serving offers.

    Every output has the batch as dimension 0, which the server's batching needs.

    - `serving_default`: `image_bytes` `(b,)` strings to `embedding` `(b, d)` float32,
      of length one, `valid` `(b,)` boolean and `boxes` `(b, i, 4)` float32: what each
      scale saw, ymin, xmin, ymax, xmax relative to the upright image.
    - `images`, `images_float`: `images` `(b, h, w, 3)`, RGB 0..255 as uint8 or float32,
      all of one size, to `embedding`, `boxes` and `valid`.
    - `explain`: the outputs of `serving_default`, and `parts` `(b, i, j, d)`,
      `saliency` `(b, i, h, w)` and `fallback` `(b, i)` boolean.

    Where `valid` is false, all other outputs are zero.

    Values that depend on the weights alone are computed once, here, and not in every
    request; later changes of the weights do not reach them.

    Args:
        embedder: As `build_deml` built it.
        scales: Sorted indices from 0 of the scales to keep.
        learners: Sorted indices from 0 of the learners to keep.
    """

    def __init__(
        self, embedder: keras.Model, scales: Sequence[int], learners: Sequence[int]
    ):
        super().__init__(name="servable")
        core = core_of(embedder)
        self.geometry = geometry_of(embedder)
        self.core = part_core(core, scales, learners)
        self.explaining_core = part_core(core, scales, learners, explain=True)
        self._twins, _ = inference_twins(
            self.core, self.explaining_core, compiled=False
        )
        side = self.geometry.input_size
        squares = tf.TensorSpec((None, side, side, 3), tf.float32, "squares")

        def inference(twin: keras.Model) -> Any:
            return tf.function(
                lambda images: dict(twin(images, training=False)),
                [squares],
                autograph=False,
            )

        # One traced function each, which all signatures share.
        self._embed, self._explain = map(inference, self._twins)

    @functools.cached_property
    def signatures(self) -> dict[str, Any]:
        """Functions by name, each with its input's name, shape and type."""
        encoded = tf.TensorSpec((None,), tf.string, "image_bytes")
        shape = (None, None, None, 3)
        eight_bit = tf.TensorSpec(shape, tf.uint8, "images")
        floats = tf.TensorSpec(shape, tf.float32, "images")
        functions = {
            "serving_default": (lambda x: self._from_bytes(x, self._embed), encoded),
            "images": (self.from_pixels, eight_bit),
            "images_float": (self.from_pixels, floats),
            "explain": (lambda x: self._from_bytes(x, self._explain), encoded),
        }
        return {
            name: tf.function(function, [spec], autograph=False)
            for name, (function, spec) in functions.items()
        }

    def from_pixels(self, images: Any) -> dict[str, Any]:
        """Compute the signatures `images` and `images_float`.

        Args:
            images: `(b, h, w, 3)`, RGB 0..255.

        Returns:
            `embedding`, `boxes` and `valid`, which is false where an image has no
            pixels, or has or leads to numbers that are not finite.
        """
        count, *shape = tf.unstack(tf.shape(images)[:3])
        some = tf.reduce_min(shape) > 0
        images = tf.cond(
            some, lambda: images, lambda: tf.zeros([count, 1, 1, 3], images.dtype)
        )
        squares = make_squares(images, self.geometry)
        outputs = self._embed(squares)
        outputs["boxes"] = restore_boxes(outputs["boxes"], shape, self.geometry)
        # A network may turn NaN into numbers, and large numbers into NaN.
        finite = _all_finite(squares) & _all_finite(outputs["embedding"])
        return _only_valid(outputs, some & finite)

    def describe_preprocessing(self) -> dict[str, Any]:
        """Describe how the graph prepares an image, for deml.json."""
        return {
            "colours": "RGB, 0..255; the backbone normalises them itself",
            "formats": (
                "JPEG, PNG, GIF (first frame), BMP; WebP where TensorFlow has it"
            ),
            "exif_orientation": "applied",
            "resize": "bilinear, half-pixel centres, antialiased",
            "fit": self.geometry.fit,
            "resize_size": self.geometry.resize_size,
            "crop": "centre",
            "crop_size": self.geometry.input_size,
            "most_pixels": MOST_PIXELS,
            "most_bytes": MOST_BYTES,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the SavedModel.

        Args:
            path: A folder, made if it is missing.
        """
        saved: Any = tf.Module()
        # Save the variables and not the models, to which Keras would add functions.
        saved.weights = self.kept_variables()
        tf.saved_model.save(saved, os.fspath(path), signatures=self.signatures)

    def kept_variables(self) -> list[Any]:
        """List the variables that the functions read, each once."""
        variables = [v for twin in self._twins for v in twin.variables]
        return list({id(v): v.value for v in variables}.values())

    def _from_bytes(self, image_bytes: Any, network: Any) -> dict[str, Any]:
        squares, valid, shapes = read_squares(image_bytes, self.geometry)
        outputs = network(squares)
        outputs["boxes"] = restore_boxes(outputs["boxes"], shapes, self.geometry)
        return _only_valid(outputs, valid)


def _all_finite(values: Any) -> Any:  # (b, ...) -> (b,)
    return tf.reduce_all(tf.math.is_finite(values), range(1, values.shape.rank))


def _only_valid(outputs: dict[str, Any], valid: Any) -> dict[str, Any]:
    """Set invalid rows to zero, and add which rows are valid."""

    def kept(value: Any) -> Any:
        rows = tf.reshape(valid, [-1] + [1] * (value.shape.rank - 1))
        return tf.where(rows, value, tf.zeros_like(value))

    return {name: kept(value) for name, value in outputs.items()} | {"valid": valid}
