"""No decoupling: learners are free to become alike."""

from collections.abc import Sequence

import tensorflow as tf

from deml_tf.decoupling.decoupling import Decoupling


class NoDecoupling(Decoupling):
    """Adds nothing to the loss: for comparison, and for a single learner.

    Args:
        weight: Not used.
    """

    def terms(
        self, parts: Sequence[tf.Tensor], done: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return no terms."""
        return {}
