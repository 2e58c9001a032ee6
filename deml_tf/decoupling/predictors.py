"""The opponent of two decouplings: it predicts each learner from every other one."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.adversary import Adversary
from deml_tf.losses.adversary_loss import adversary_loss


class Predictors(keras.layers.Layer):
    """One `Adversary` for each scale, and the optimizer that trains all of them.

    Build it with the shape of the parts, `(None, i, j, d)`.

    Args:
        hidden: Hidden units of each predictor.
        learning_rate: Learning rate of the predictors' own Adam.

    Call arguments:
        parts: `(b, j, d)` of each scale.

    Returns:
        Scalar: sum over scales of the mean over images of `adversary_loss`.
    """

    def __init__(self, hidden: int, learning_rate: float):
        super().__init__(dtype="float32", name="predictors")
        if hidden < 1:
            raise UsageError(f"hidden={hidden}: it must be at least 1.")
        if not learning_rate > 0:
            raise UsageError(f"learning_rate={learning_rate}: it must be above 0.")
        self.hidden = hidden
        self.optimizer: keras.Optimizer = keras.optimizers.Adam(learning_rate)
        self.adversaries: list[Adversary] = []

    def build(self, parts_shape: Sequence[Any]) -> None:
        """Make the predictors and build their optimizer."""
        _, scales, learners, part_dim = parts_shape
        for i in range(1, scales + 1):
            adversary = Adversary(
                learners,
                part_dim,
                hidden=self.hidden,
                dtype="float32",
                name=f"scale{i}_adversary",
            )
            adversary.build((None, learners, part_dim))
            self.adversaries.append(adversary)
        # Now, and not in the first step, which is traced.
        self.optimizer.build(self.trainable_variables)

    def call(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the loss of the predictors."""
        return tf.add_n(
            [
                tf.reduce_mean(adversary_loss(adversary(p), p))
                for adversary, p in zip(self.adversaries, parts, strict=True)
            ]
        )

    def apply(self, gradients: Sequence[Any]) -> None:
        """Update the predictors; gradients are added up over replicas."""
        self.optimizer.apply(gradients, self.trainable_variables)
