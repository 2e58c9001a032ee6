"""Bytes inside a string tensor, read without ever failing: what is not there is 0."""

from typing import Any

import numpy as np
import tensorflow as tf


def take(text: Any, at: Any, count: int) -> Any:
    """Reads bytes as numbers.

    Args:
        text: scalar string.
        at: scalar integer, from 0.
        count: how many.

    Returns:
        `(count,)` int64 in 0..255; zeros beyond the text's end.
    """
    taken = cut(text, at, count)
    return tf.cast(tf.io.decode_raw(taken, tf.uint8, fixed_length=count), tf.int64)


def cut(text: Any, at: Any, size: Any) -> Any:
    """Cuts a piece out, as much of it as is there: tf.strings.substr fails instead.

    Args:
        text: scalar string.
        at: scalar integer, from 0.
        size: scalar integer; below 0 counts as 0.

    Returns:
        Scalar string.
    """
    at = tf.minimum(tf.cast(at, tf.int64), length(text))
    return tf.strings.substr(text, at, tf.maximum(tf.cast(size, tf.int64), 0))


def length(text: Any) -> Any:
    """Counts the bytes of a scalar string, int64."""
    return tf.cast(tf.strings.length(text), tf.int64)


def starts(values: Any, prefix: bytes) -> Any:
    """Says whether bytes, as `take` gives them, begin with others; a scalar bool."""
    return tf.reduce_all(tf.equal(values[: len(prefix)], list(prefix)))


def number(values: Any, little: Any) -> Any:
    """Puts bytes together to unsigned numbers.

    Args:
        values: `(..., n)` int64, n of 1 to 7.
        little: scalar bool, whether the lowest byte comes first.

    Returns:
        `(...)` int64.
    """
    weights = 256 ** np.arange(values.shape[-1], dtype=np.int64)
    return tf.reduce_sum(values * tf.where(little, weights, weights[::-1]), -1)
