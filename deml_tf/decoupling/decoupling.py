"""The interface between the trainer and a way to decouple learners."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


class Decoupling(keras.layers.Layer):
    """Adds terms to the loss that keep the learners of a scale different.

    A subclass defines at least `terms`, and sets `term_weights` in its constructor. It
    may have an opponent, a network that is trained against the embedder. The opponent
    is updated either by `oppose`, before each update of the embedder, or by
    `apply_joint`, with gradients from the embedder's own backward pass.

    Layers, variables and optimizers that are set as attributes are saved in
    checkpoints. Make them in `build`, which gets the shape of the parts,
    `(None, i, j, d)`.

    Args:
        weight: Weight of the decoupling in the loss, at least 0.

    Attributes:
        term_weights: Weight of each term in the embedder's loss, by name.
        joint_variables: Variables of the opponent that are trained by gradients of the
            embedder's loss.
    """

    def __init__(self, weight: float = 0.0, **kwargs: Any):
        # One name for all, so that paths of variables do not count instances.
        super().__init__(dtype="float32", name="decoupling", **kwargs)
        self.weight = weight
        self.term_weights: Mapping[str, float] = {}

    @property
    def joint_variables(self) -> list[keras.Variable]:
        """Return the variables that `apply_joint` updates; none by default."""
        return []

    def oppose(self, parts: Sequence[tf.Tensor]) -> None:
        """Update the opponent, before the terms are computed; by default do nothing.

        Args:
            parts: `(b, j, d)` of each scale, float32, without gradient.
        """
        del parts

    def terms(
        self, parts: Sequence[tf.Tensor], done: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the value of each term, unweighted, summed over scales.

        Args:
            parts: `(b, j, d)` of each scale, float32.
            done: Share of the training that is done, a scalar in [0, 1).

        Returns:
            A scalar for each name in `term_weights`: a mean over the replica's images.
        """
        raise NotImplementedError

    def apply_joint(self, gradients: Sequence[Any]) -> None:
        """Update `joint_variables`; by default there are none.

        Args:
            gradients: Gradients of the embedder's loss, in the variables' order, to be
                added up over replicas as Keras optimizers do.
        """
        del gradients
