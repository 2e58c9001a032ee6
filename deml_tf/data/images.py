"""One picture: read it, cut it, mirror it, and say which file it was if that fails."""

import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from deml_tf.errors import DataError


def decode(path: Any) -> tf.Tensor:
    """Reads a picture as it is stored.

    JPEG, PNG, GIF (its first frame), BMP and WebP; grey pictures, palettes and CMYK
    become RGB, transparency is dropped, EXIF rotation is ignored.

    Args:
        path: scalar string.

    Returns:
        uint8 `(h, w, 3)`.
    """
    picture = tf.io.decode_image(
        tf.io.read_file(path), channels=3, expand_animations=False
    )
    return tf.ensure_shape(picture, [None, None, 3])


def random_crop_and_mirror(picture: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Cuts a square at a random place and mirrors it left to right half of the time.

    The augmentation of the authors' release (227 of 256 pixels, mirrored).

    Args:
        picture: `(h, w, c)`, both sides at least `size`.
        size: side of the cut, in pixels.
        seed: `(2,)` integers; the result is a function of them and the picture.

    Returns:
        `(size, size, c)`, same type.
    """
    crop_seed, mirror_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    cut = tf.image.stateless_random_crop(
        picture, [size, size, picture.shape[-1]], seed=crop_seed
    )
    return tf.image.stateless_random_flip_left_right(cut, seed=mirror_seed)


def explain_unreadable(paths: Iterable[str], error: Exception) -> Exception:
    """Names the files behind a reading error of a dataset, which tf.data does not.

    For the error path only: it reads every file again. Use it as

        except tf.errors.OpError as error:
            raise explain_unreadable(paths, error) from error

    Args:
        paths: the files that may have been read, such as those of the failing step.
        error: what was raised.

    Returns:
        A `DataError` naming the unreadable files, or `error` if all can be read.
    """
    first, count = "", 0
    with tf.device("CPU:0"):
        for path in dict.fromkeys(paths):
            try:
                decode(os.fsencode(path))
            except tf.errors.OpError as failure:
                reason = str(failure.message).partition("}} ")[2] or failure.message
                reason = reason.splitlines()[0].partition(" [Op:")[0].rstrip(".")
                first, count = first or f"{path} ({reason})", count + 1
    if not count:
        return error
    more = f" and {count - 1} more" if count > 1 else ""
    return DataError(
        f"cannot read the picture {first}{more}; replace the file or take it out of "
        "the data set"
    )
