"""Read bytes inside a string tensor; bytes beyond its end are 0, never an error."""

from typing import Any

import numpy as np
import tensorflow as tf


def bytes_at(text: Any, at: Any, count: int) -> Any:
    """Return bytes as numbers.

    Args:
        text: Scalar string.
        at: Scalar integer, position of the first byte, from 0.
        count: Number of bytes.

    Returns:
        `(count,)` int64 in 0..255; zeros beyond the end of the text.
    """
    taken = slice_bytes(text, at, count)
    return tf.cast(tf.io.decode_raw(taken, tf.uint8, fixed_length=count), tf.int64)


def slice_bytes(text: Any, at: Any, size: Any) -> Any:
    """Cut out a piece, even where `tf.strings.substr` would fail at the text's end.

    Args:
        text: Scalar string.
        at: Scalar integer, position of the first byte, from 0.
        size: Scalar integer, number of bytes; below 0 counts as 0.

    Returns:
        Scalar string, shorter than `size` where the text ends.
    """
    at = tf.minimum(tf.cast(at, tf.int64), byte_count(text))
    return tf.strings.substr(text, at, tf.maximum(tf.cast(size, tf.int64), 0))


def byte_count(text: Any) -> Any:
    """Return the number of bytes of a scalar string, int64."""
    return tf.cast(tf.strings.length(text), tf.int64)


def starts_with(values: Any, prefix: bytes) -> Any:
    """Tell whether bytes, as `bytes_at` returns them, begin with others."""
    return tf.reduce_all(tf.equal(values[: len(prefix)], list(prefix)))


def to_number(values: Any, little: Any) -> Any:
    """Combine bytes into unsigned numbers.

    Args:
        values: `(..., n)` int64, n from 1 to 7.
        little: Scalar bool, whether the lowest byte comes first.

    Returns:
        `(...)` int64.
    """
    weights = 256 ** np.arange(values.shape[-1], dtype=np.int64)
    return tf.reduce_sum(values * tf.where(little, weights, weights[::-1]), -1)
