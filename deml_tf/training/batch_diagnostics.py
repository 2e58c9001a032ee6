"""Signs of a collapse in a batch: all embeddings, or all learners, becoming equal."""

from typing import Any

import tensorflow as tf

CONSTANT = 1e-11  # variance below which float32 vectors differ by rounding alone

# Logged beside the losses; no part of any of them.
DIAGNOSTICS = (
    "embedding_variance",
    "effective_rank",
    "learner_cosine",
    "flat_point_distance",
)


def embedding_spread(embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Measure how far a batch's embeddings are from all being equal, or on one line.

    Args:
        embeddings: `(b, d)`, of length one.

    Returns:
        The variance 1 - |mean|^2, and the effective rank, the participation ratio
        (tr C)^2 / tr C^2 of the centred Gram matrix C: at most b - 1, at most the
        number of classes less one if the images of each class are embedded alike, and 0
        if all embeddings are equal.
    """
    centred = embeddings - tf.reduce_mean(embeddings, axis=0)
    gram = tf.matmul(centred, centred, transpose_b=True)  # (b, b)
    trace = tf.linalg.trace(gram)
    # For unit vectors this is 1 - |mean|^2, without the rounding of that formula.
    variance = trace / tf.cast(tf.shape(gram)[0], gram.dtype)
    squares = tf.reduce_sum(tf.square(gram))
    rank = tf.math.divide_no_nan(tf.square(trace), squares)
    # Differences of equal vectors are rounding errors. NaN stays NaN.
    return variance, tf.where(variance <= CONSTANT, 0.0, rank)


def learner_cosine(parts: tf.Tensor) -> tf.Tensor:
    """Return the mean cosine between learners of a scale, over images and scales.

    Args:
        parts: `(b, i, j, d)`, of length one, with at least two learners.
    """
    learners: Any = parts.shape[2]
    joint = tf.reduce_sum(tf.square(tf.reduce_sum(parts, axis=2)), axis=-1)  # (b, i)
    own = tf.reduce_sum(tf.square(parts), axis=(2, 3))
    return tf.reduce_mean(joint - own) / (learners * (learners - 1))
