"""One image: read it, cut it, mirror it, and say which file it was if that fails."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.cli.error_text import why_not
from deml_tf.data.decoding import decode_as_stored
from deml_tf.data.example import Example
from deml_tf.data.image_bytes import read_tensor, stat_image
from deml_tf.data.orientation import turn_upright
from deml_tf.errors import DataError


def decode(path: Any, elsewhere: bool = False) -> tf.Tensor:
    """Read and decode an image.

    Args:
        path: Scalar string, a file or a place in a shard; see `image_bytes`.
        elsewhere: Whether another process may run it; see `read_tensor`.

    Returns:
        uint8 `(h, w, 3)`, as `decode_bytes` returns it.
    """
    return decode_bytes(read_tensor(path, elsewhere))


def decode_bytes(encoded: Any) -> tf.Tensor:
    """Decode an image and turn it upright.

    The format (JPEG, PNG, GIF, BMP or WebP) is recognised by the bytes. The first
    frame of an animation is taken. Grey, palette and CMYK images become RGB, the upper
    eight of 16 bits are kept, and transparency is dropped.

    Args:
        encoded: Scalar string, the file.

    Returns:
        uint8 `(h, w, 3)`.
    """
    return turn_upright(decode_as_stored(encoded), encoded)


def cut_out(image: tf.Tensor, box: Any) -> tf.Tensor:
    """Cut a box out of an image.

    Args:
        image: `(h, w, c)`.
        box: `(4,)` float32, ymin, xmin, ymax, xmax from 0 to 1, relative to the image.

    Returns:
        Its pixels: each side of the box is moved to the nearest border of a pixel, but
        at least one pixel is left.
    """
    sides = tf.shape(image)[:2]
    borders = tf.reshape(box, (2, 2)) * tf.cast(sides, tf.float32)
    start, stop = tf.unstack(tf.cast(tf.round(borders), tf.int32))
    start = tf.minimum(start, sides - 1)
    stop = tf.maximum(stop, start + 1)
    return image[start[0] : stop[0], start[1] : stop[1]]


def read_example(example: Example) -> np.ndarray:
    """Read what an example uses of its image.

    Args:
        example: The example.

    Returns:
        uint8 `(h, w, 3)`.
    """
    with tf.device("CPU:0"):
        image = decode(os.fsencode(example.path))
        return (cut_out(image, example.crop) if example.crop else image).numpy()


def random_crop_and_mirror(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Cut a square at a random place, and mirror it left to right half of the time.

    This is the augmentation of the authors' release (227 of 256 pixels, mirrored).

    Args:
        image: `(h, w, c)`, both sides at least `size`.
        size: Side of the cut in pixels.
        seed: `(2,)` integers. The result depends on them and on the image alone.

    Returns:
        `(size, size, c)`, of the same type.
    """
    crop_seed, mirror_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    cut = tf.image.stateless_random_crop(
        image, [size, size, image.shape[-1]], seed=crop_seed
    )
    return tf.image.stateless_random_flip_left_right(cut, seed=mirror_seed)


def explain_unreadable(paths: Iterable[str], error: Exception) -> Exception:
    """Name the files behind a reading error of a dataset, which tf.data does not.

    For the error path only, since it reads every file again. Use it as

        except tf.errors.OpError as error:
            raise explain_unreadable(paths, error) from error

    Args:
        paths: the files that may have been read, such as those of the failing step.
        error: what was raised.

    Returns:
        A `DataError` naming the unreadable files, or `error` if all can be read or
        memory ran out.
    """
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return error  # memory ran out
    bad = {}
    with tf.device("CPU:0"):
        for path in dict.fromkeys(paths):
            try:
                stat_image(path)  # or the next line would wait for a pipe
                decode(os.fsencode(path))
            except OSError as failure:
                bad[path] = str(failure.strerror)
            except tf.errors.OpError as failure:
                bad[path] = why_not(failure)
    if not bad:
        return error
    return DataError(
        f"cannot read the image {first_of(bad)}; put a readable file in its place"
    )


def first_of(bad: Mapping[str, str]) -> str:
    """Name the first of some unreadable images, and count the others.

    Args:
        bad: Why each of them cannot be read, by path; one or more.

    Returns:
        Such as "a.jpg (it is empty) and 2 more".
    """
    path, reason = next(iter(bad.items()))
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return f"{path} ({reason}){more}"
