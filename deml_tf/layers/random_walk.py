"""The random walk on a feature map: where it ends up most often stands out."""

from typing import Any

import numpy as np
import tensorflow as tf


def location_kernel(h: int, w: int, epsilon: float) -> np.ndarray:
    """Weight pairs of grid positions by their closeness; a position with itself by 0.

    K_pq = exp(-((dy/h)^2 + (dx/w)^2) / (2 epsilon^2)) for p != q: with h = w the
    release's exp(-(dy^2 + dx^2) / (2 eps^2)), eps = epsilon * side. On other grids each
    axis is measured in units of its own side, as if the image were squashed to a
    square; the map is turned into an image in the same way.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.
        epsilon: Width of the kernel as a share of the side.

    Returns:
        (n, n) float32, n = h * w. The diagonal does not affect the walk, as no position
        differs from itself. It is 0, so that the row sums are those of D where all
        features are equally far apart.
    """
    row, column = np.divmod(np.arange(h * w), w)
    square = ((row[:, None] - row) / h) ** 2 + ((column[:, None] - column) / w) ** 2
    kernel = np.exp(-square / (2.0 * epsilon**2))
    np.fill_diagonal(kernel, 0.0)
    return kernel.astype("float32")


def feature_distances(features: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the Euclidean distances between the features of all positions.

    They come from the Gram matrix of the features minus their mean, so that a large
    common part costs no digits: errors are about 1e-7 of the largest squared distance.

    Args:
        features: (b, n, c) float32.

    Returns:
        `distances` (b, n, n) float32; and `differ` (b,) boolean, false where features
        or their squares are not finite, or where all features are equal up to the
        rounding of their mean. Distances are 0 there.
    """
    n = features.shape[1]
    mean = tf.reduce_mean(features, axis=1, keepdims=True)
    features -= mean
    gram = tf.linalg.matmul(features, features, transpose_b=True)  # (b, n, n)
    # The diagonal, by operations that LiteRT supports too.
    square = tf.reduce_sum(tf.where(np.eye(n, dtype=bool), gram, 0.0), axis=2)  # (b, n)
    rounding = (n * 2.0**-24) ** 2 * tf.reduce_sum(mean**2, axis=(1, 2))
    differ = tf.math.is_finite(tf.reduce_sum(square, axis=1))
    differ &= tf.reduce_max(square, axis=1) > rounding
    square = square[:, :, None] + square[:, None, :] - 2.0 * gram
    distances = tf.sqrt(tf.maximum(square, 0.0))
    return tf.where(differ[:, None, None], distances, 0.0), differ


def transition_matrix(distances: Any) -> tf.Tensor:
    """Turn weighted distances into a Markov chain: P = D / column sums.

    Args:
        distances: (b, n, n), D, not negative.

    Returns:
        (b, n, n); column q holds the probabilities of going from q to each p, and sums
        to 1 (to 0 where D's column is all zero).
    """
    return tf.math.divide_no_nan(
        distances, tf.reduce_sum(distances, axis=1, keepdims=True)
    )


def walk(distances: Any, start: Any, steps: int) -> tf.Tensor:
    """Walk: m_{t+1} = P m_t.

    Args:
        distances: (b, n, n), D, not negative.
        start: (b, n), m_0.
        steps: Number of steps.

    Returns:
        (b, n), m after that many steps.
    """
    chain = transition_matrix(distances)
    state = start[:, :, None]
    for _ in range(steps):
        state = tf.linalg.matmul(chain, state)
    return state[:, :, 0]


def stationary(distances: Any) -> tf.Tensor:
    """Return where the walk ends: row sums of D / sum of D, as D is symmetric.

    Args:
        distances: (b, n, n), D, symmetric and not negative.

    Returns:
        (b, n), each row summing to 1 (to 0 where D is all zero).
    """
    rows = tf.reduce_sum(distances, axis=2)
    return tf.math.divide_no_nan(rows, tf.reduce_sum(rows, axis=1, keepdims=True))


def saliency_map(
    features: Any,
    steps: int | None,
    epsilon: float,
    prior_correction: bool = False,
    start: Any = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the saliency of each position of a feature map.

    D_pq = ||f_p - f_q|| K_pq; m is the walk's state after `steps` steps from m_0, or
    where it ends (Chen & Deng, CVPR 2019, object attention).

    Args:
        features: (b, h, w, c), h and w static, any floating type.
        steps: Number of steps, or None for the exact end.
        epsilon: Width of the location kernel as a share of the side.
        prior_correction: Whether m is divided by the end of a walk on the kernel alone,
            so that features without information give a uniform map instead of a centred
            one; default False.
        start: (b, h, w), m_0, summing to 1; uniform by default. Not used without
            `steps`.

    Returns:
        (b, h, w) float32, summing to 1; and `informed` (b,) boolean, false where the
        features carry no information: the map is then 1/n everywhere.
    """
    _, h, w, channels = features.shape
    n = h * w
    features = tf.reshape(tf.cast(features, tf.float32), (-1, n, channels))
    distances, informed = feature_distances(features)
    kernel = location_kernel(h, w, epsilon)
    distances *= kernel
    uniform = tf.fill((tf.shape(features)[0], n), 1.0 / n)
    if steps is None:
        state = stationary(distances)
    else:
        start = uniform if start is None else tf.reshape(start, (-1, n))
        state = walk(distances, start, steps)
    if prior_correction:
        state = tf.math.divide_no_nan(state, kernel.sum(axis=1))
    total = tf.reduce_sum(state, axis=1, keepdims=True)
    informed &= tf.math.is_finite(total[:, 0]) & (total[:, 0] > 0)
    state = tf.where(informed[:, None], tf.math.divide_no_nan(state, total), uniform)
    return tf.reshape(state, (-1, h, w)), informed
