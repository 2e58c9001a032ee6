"""Decoupling of the authors' release: a hinge on the distances between learners."""

from collections.abc import Sequence

import tensorflow as tf

from deml_tf.decoupling.decoupling import Decoupling
from deml_tf.losses.learner_hinge import LEARNER_HINGE_WEIGHT, learner_hinge


class HingeDecoupling(Decoupling):
    """Adds `weight` times `learner_hinge` to the loss.

    Args:
        weight: Weight of the hinge; 0.2 in the release.
    """

    def __init__(self, weight: float = LEARNER_HINGE_WEIGHT):
        super().__init__(weight)
        self.term_weights = {"hinge_loss": weight}

    def terms(
        self, parts: Sequence[tf.Tensor], done: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the hinge, summed over scales."""
        hinges = [tf.reduce_mean(learner_hinge(p)) for p in parts]
        return {"hinge_loss": tf.add_n(hinges)}
