"""Decoupling by gradient reversal: adversary and embedder in one backward pass."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deml_tf.decoupling.decoupling import Decoupling
from deml_tf.decoupling.predictors import Predictors
from deml_tf.layers.gradient_reversal import GradientReversal
from deml_tf.losses.learner_hinge import LEARNER_HINGE_WEIGHT


class ReversalDecoupling(Decoupling):
    """Trains predictors and, through reversed gradients, the embedder against them.

    The predictors minimise `adversary_loss`; its gradient reaches the embedder
    multiplied by `-weight * (2 / (1 + exp(-10 p)) - 1)`, with p the share of the
    training that is done (Ganin & Lempitsky, ICML 2015, section 3).

    Args:
        weight: Weight of the adversary loss at the end of the training.
        learning_rate: Learning rate of the adversary's Adam, above 0.
        hidden: Number of hidden units of each predictor, at least 1.
    """

    def __init__(
        self,
        weight: float = LEARNER_HINGE_WEIGHT,
        learning_rate: float = 1e-3,
        hidden: int = 256,
    ):
        super().__init__(weight)
        self.term_weights = {"adversary_loss": 1.0}  # the reversal has the weight
        self.predictors = Predictors(hidden, learning_rate)
        self.reversal = GradientReversal(dtype="float32")

    def build(self, parts_shape: Sequence[Any]) -> None:
        """Make the predictors."""
        self.predictors.build(parts_shape)

    @property
    def joint_variables(self) -> list[keras.Variable]:
        """Return the predictors' variables."""
        return self.predictors.trainable_variables

    def terms(
        self, parts: Sequence[tf.Tensor], done: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the adversary loss, whose gradient is reversed on its way down."""
        scale = self.weight * (2.0 / (1.0 + tf.exp(-10.0 * done)) - 1.0)
        turned = [self.reversal(p, scale) for p in parts]
        return {"adversary_loss": self.predictors.call(turned)}

    def apply_joint(self, gradients: Sequence[Any]) -> None:
        """Update the predictors."""
        self.predictors.apply(gradients)
