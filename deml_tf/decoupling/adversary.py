"""Decoupling of the paper: an adversary trained in turns with the embedder."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from deml_tf.decoupling.decoupling import Decoupling
from deml_tf.decoupling.predictors import Predictors
from deml_tf.errors import UsageError
from deml_tf.losses.learner_hinge import LEARNER_HINGE_WEIGHT


class AdversaryDecoupling(Decoupling):
    """Trains predictors on the embeddings, and the embedder against the predictors.

    Paper section 3.3; norm and weight of its adversary are not published. In each step
    the predictors minimise `adversary_loss` on detached embeddings, then the embedder
    minimises the metric loss minus `weight` times `adversary_loss`, with the predictors
    held fixed.

    Args:
        weight: Weight of the adversary loss.
        steps: Number of updates of the adversary for each update of the embedder, at
            least 1.
        learning_rate: Learning rate of the adversary's Adam, above 0.
        hidden: Number of hidden units of each predictor, at least 1.
    """

    def __init__(
        self,
        weight: float = LEARNER_HINGE_WEIGHT,
        steps: int = 1,
        learning_rate: float = 1e-3,
        hidden: int = 256,
    ):
        super().__init__(weight)
        if steps < 1:
            raise UsageError(f"steps={steps}: it must be at least 1.")
        self.term_weights = {"adversary_loss": -weight}
        self.steps = steps
        self.predictors = Predictors(hidden, learning_rate)

    def build(self, parts_shape: Sequence[Any]) -> None:
        """Make the predictors."""
        self.predictors.build(parts_shape)

    def oppose(self, parts: Sequence[tf.Tensor]) -> None:
        """Minimise the adversary loss over the predictors."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        variables = self.predictors.trainable_variables
        for _ in range(self.steps):
            with tf.GradientTape() as tape:
                loss = self.predictors.call(parts) / replicas
            self.predictors.apply(tape.gradient(loss, variables))

    def terms(
        self, parts: Sequence[tf.Tensor], done: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the adversary loss."""
        return {"adversary_loss": self.predictors.call(parts)}
