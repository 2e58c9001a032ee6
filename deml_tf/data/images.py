"""One image: read it, cut it, mirror it, and say which file it was if that fails."""

import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from deml_tf.cli.error_text import why_not
from deml_tf.data.decoding import decode_stored
from deml_tf.data.orientation import turn_upright
from deml_tf.data.stored import read
from deml_tf.errors import DataError


def decode(path: Any) -> tf.Tensor:
    """Reads an image.

    Args:
        path: scalar string, a file or a place in a shard; see `stored`.

    Returns:
        As `decode_bytes` gives it.
    """
    return decode_bytes(read(path))


def decode_bytes(encoded: Any) -> tf.Tensor:
    """Decodes an image and turns it upright.

    JPEG, PNG, GIF (its first frame), BMP and WebP, told apart by their bytes; grey
    images, palettes and CMYK become RGB, of 16 bits the high eight are kept,
    transparency is dropped.

    Args:
        encoded: scalar string.

    Returns:
        uint8 `(h, w, 3)`.
    """
    return turn_upright(decode_stored(encoded), encoded)


def random_crop_and_mirror(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Cuts a square at a random place and mirrors it left to right half of the time.

    The augmentation of the authors' release (227 of 256 pixels, mirrored).

    Args:
        image: `(h, w, c)`, both sides at least `size`.
        size: side of the cut, in pixels.
        seed: `(2,)` integers; the result is a function of them and the image.

    Returns:
        `(size, size, c)`, same type.
    """
    crop_seed, mirror_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    cut = tf.image.stateless_random_crop(
        image, [size, size, image.shape[-1]], seed=crop_seed
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
                first, count = first or f"{path} ({why_not(failure)})", count + 1
    if not count:
        return error
    more = f" and {count - 1} more" if count > 1 else ""
    return DataError(
        f"cannot read the image {first}{more}; replace the file or take it out of "
        "the data set"
    )
