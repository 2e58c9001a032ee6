"""The images that an export is tried on, and the outputs it must give."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from deml_tf.data.images import decode_bytes
from deml_tf.errors import DataError
from deml_tf.layers.prepare import fit_square
from deml_tf.serving.expected import Outputs, Trained
from deml_tf.serving.fresh_run import Inputs
from deml_tf.serving.square_servable import SIGNATURE

BATCH_SIZES = (1, 3, 32)
IMAGE_SHAPE = (120, 150)  # for the signatures that take pixels; not square ...
_OF_PIXELS = ("embedding", "boxes")


@dataclasses.dataclass(frozen=True)
class Trial:
    """The n images as the signatures take them, and the outputs that they must give.

    Attributes:
        inputs: The images by the name of an input.
        signatures: The name of each signature's input.
        expected: For each signature, outputs `(n, ...)` by name.
        sensitivity: How far rounding may move them, see `Trained.sensitivity`.
        valid: `(n,)`, whether an image can be read.
        scored: Embeddings of the valid images as scoring computes them, `(m, d)`; None
            if the export takes no encoded images.
    """

    inputs: Inputs
    signatures: Mapping[str, str]
    expected: Mapping[str, Outputs]
    sensitivity: Mapping[str, Outputs]
    valid: np.ndarray
    scored: np.ndarray | None = None

    @functools.cached_property
    def batches(self) -> list[list[int]]:
        """Each image alone, a broken one between two good ones, and 32 in turn."""
        count = len(self.valid)
        good = np.flatnonzero(self.valid).tolist()
        broken = np.flatnonzero(~self.valid).tolist()
        return [
            *([n] for n in range(count)),
            [good[0], *broken[:1], *good[1:3]][: BATCH_SIZES[1]],
            [n % count for n in range(max(BATCH_SIZES[2], count))],
        ]


def trial_of_encoded(trained: Trained, encoded: Sequence[bytes]) -> Trial:
    """Try the signatures of a `Servable`, which take encoded images or pixels.

    Args:
        trained: The embedder.
        encoded: n images, at least three of them good and one broken.
    """
    rows = trained.of_files(encoded)
    sensitive = _stacked(trained.sensitivity_of_files(encoded))
    good = [n for n, outputs in enumerate(rows) if outputs is not None]
    images = _pixels(encoded, rows)
    of_pixels = _some(trained.of_pixels(images), _OF_PIXELS)
    of_pixels["valid"] = np.ones(len(images), bool)
    sensitive_of_pixels = trained.sensitivity(images)
    of_bytes = _stacked(rows)
    of_bytes["valid"] = np.array([row is not None for row in rows])
    return Trial(
        inputs={
            "image_bytes": list(encoded),
            "images": images,
            "images_float": images.astype(np.float32),
        },
        signatures={
            "serving_default": "image_bytes",
            "images": "images",
            "images_float": "images_float",
            "explain": "image_bytes",
        },
        expected={
            "serving_default": _some(of_bytes, (*_OF_PIXELS, "valid")),
            "images": of_pixels,
            "images_float": of_pixels,
            "explain": of_bytes,
        },
        sensitivity={
            "serving_default": sensitive,
            "images": sensitive_of_pixels,
            "images_float": sensitive_of_pixels,
            "explain": sensitive,
        },
        valid=of_bytes["valid"],
        scored=trained.as_scored([encoded[n] for n in good]),
    )


def trial_of_squares(trained: Trained, encoded: Sequence[bytes]) -> Trial:
    """Try the signature of a `SquareServable`, which takes prepared squares.

    Args:
        trained: The embedder.
        encoded: Images, whatever their bytes; those that cannot be read are left out.

    Raises:
        DataError: None can be read.
    """
    squares = []
    size, fit = trained.geometry.resize_size, trained.geometry.fit
    for image in encoded:
        try:
            pixels = decode_bytes(tf.constant(image))
        except tf.errors.OpError:
            continue
        squares.append(fit_square(pixels, size, fit).numpy())
    if not squares:
        raise DataError("None of the images to try the export on can be read.")
    images = np.stack(squares)  # (n, s, s, 3), 0..255
    return Trial(
        inputs={SIGNATURE: images},
        signatures={SIGNATURE: SIGNATURE},
        expected={SIGNATURE: _some(trained.of_pixels(images), _OF_PIXELS)},
        sensitivity={SIGNATURE: trained.sensitivity(images)},
        valid=np.ones(len(images), bool),
    )


def _some(outputs: Outputs, names: Sequence[str]) -> Outputs:
    return {name: outputs[name] for name in names}


def _stacked(rows: Sequence[Outputs | None]) -> Outputs:
    """Stack outputs to `(n, ...)`, with zeros for unreadable images."""
    model = next(outputs for outputs in rows if outputs is not None)
    nothing = {name: np.zeros_like(value) for name, value in model.items()}
    return {name: np.stack([(r or nothing)[name] for r in rows]) for name in model}


def _pixels(encoded: Sequence[bytes], rows: Sequence[Outputs | None]) -> np.ndarray:
    """Turn the images into pixels of one size, (n, h, w, 3) uint8; broken ones grey."""
    images = []
    for encoded_image, outputs in zip(encoded, rows, strict=True):
        image = tf.fill((*IMAGE_SHAPE, 3), 128.0)
        if outputs is not None:
            pixels = decode_bytes(encoded_image)
            image = tf.image.resize(pixels, IMAGE_SHAPE)
        images.append(tf.cast(tf.round(image), tf.uint8).numpy())
    return np.stack(images)
