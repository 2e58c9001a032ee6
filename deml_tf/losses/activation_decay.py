"""Decay of an embedding's size that trains the embedding matrix alone."""

from typing import Any

from deml_tf.losses.keras_ops import ops

# The release's weight on CUB-200-2011; `activation_decay` does not apply it.
ACTIVATION_DECAY_WEIGHT = 0.014


def activation_decay(pooled: Any, kernel: Any) -> Any:
    """Penalise large embeddings, without training the features under them.

    ||W x||^2 / d with the gradient of x stopped; from the authors' release, which
    applies it to learner 1 of each scale.

    Args:
        pooled: `(b, c)`, pooled features x, any floating type.
        kernel: `(c, d)`, the embedding matrix as Keras keeps it, W transposed.

    Returns:
        `(b,)`, float32, without the factor `ACTIVATION_DECAY_WEIGHT`.
    """
    pooled = ops.stop_gradient(ops.cast(pooled, "float32"))
    kernel = ops.cast(kernel, "float32")
    # (b, c), (c, d) -> (b, d)
    return ops.mean(ops.square(ops.matmul(pooled, kernel)), axis=-1)
