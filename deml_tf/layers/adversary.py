"""The adversary, which tries to predict each learner from every other one."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.losses.adversary_loss import ordered_pairs
from deml_tf.losses.pairs import unit_vectors


@keras.saving.register_keras_serializable(package="deml_tf")
class Adversary(keras.layers.Layer):
    """One small network for each ordered pair of a scale's learners.

    prediction_ab = normalise(W2_ab relu(W1_ab e_a + b1_ab) + b2_ab), e_a normalised,
    for each ordered pair (a, b), a != b. Chen & Deng (CVPR 2019) train an adversarial
    network against the embedder; its shape is not published, so this one is ours. Its
    loss is `deml_tf.losses.adversary_loss`. Every scale has an adversary of its own.

    The pairs are computed together, with weights stacked in the order of
    `ordered_pairs(num_learners)`: by source, then by target.

    Args:
        num_learners: J, at least 2.
        part_dim: d, the size of one learner's part of the embedding.
        hidden: Units of the hidden layer; default 256.
        **kwargs: As for any Keras layer.

    Call arguments:
        parts: `(b, j, d)`, the learners' embeddings, of any length.

    Returns:
        `(b, j * (j - 1), d)`, predictions of length one, in the compute dtype.

    Raises:
        UsageError: If a size is too small, or the shape of `parts` does not match.
    """

    def __init__(
        self,
        num_learners: int,
        part_dim: int,
        hidden: int = 256,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if num_learners < 2:
            raise UsageError(
                f"Adversary: num_learners is {num_learners}; predicting one learner "
                "from another takes at least 2."
            )
        for size, value in {"part_dim": part_dim, "hidden": hidden}.items():
            if value < 1:
                raise UsageError(f"Adversary: {size} is {value}; give at least 1.")
        self.num_learners = num_learners
        self.part_dim = part_dim
        self.hidden = hidden

    def build(self, parts_shape: Sequence[Any]) -> None:
        """Make the stacked weights."""
        if tuple(parts_shape[1:]) != (self.num_learners, self.part_dim):
            raise UsageError(
                f"Adversary: parts have shape {tuple(parts_shape)}; it was made for "
                f"(b, {self.num_learners}, {self.part_dim})."
            )
        pairs = self.num_learners * (self.num_learners - 1)
        d, hidden = self.part_dim, self.hidden
        # Glorot's bound for one pair; Keras would count the pairs into the fans.
        bound = (6.0 / (d + hidden)) ** 0.5

        def glorot():
            return keras.initializers.RandomUniform(-bound, bound)

        self.hidden_kernel = self.add_weight(
            name="hidden_kernel", shape=(pairs, d, hidden), initializer=glorot()
        )
        self.hidden_bias = self.add_weight(
            name="hidden_bias", shape=(pairs, hidden), initializer="zeros"
        )
        self.output_kernel = self.add_weight(
            name="output_kernel", shape=(pairs, hidden, d), initializer=glorot()
        )
        self.output_bias = self.add_weight(
            name="output_bias", shape=(pairs, d), initializer="zeros"
        )

    def call(self, parts: tf.Tensor) -> tf.Tensor:
        """Predict the targets; `p` is an ordered pair and `u` a hidden unit."""
        source, _ = ordered_pairs(self.num_learners)
        unit = tf.cast(unit_vectors(parts), self.compute_dtype)
        sources = tf.gather(unit, source, axis=1)  # (b, p, d)
        hidden = tf.einsum("bpd,pdu->bpu", sources, self.hidden_kernel)
        hidden = tf.nn.relu(hidden + self.hidden_bias)
        output = tf.einsum("bpu,pud->bpd", hidden, self.output_kernel)
        output = output + self.output_bias
        return tf.cast(unit_vectors(output), self.compute_dtype)

    def compute_output_shape(self, parts_shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return `(b, j * (j - 1), d)`."""
        pairs = self.num_learners * (self.num_learners - 1)
        return (parts_shape[0], pairs, self.part_dim)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_learners": self.num_learners,
            "part_dim": self.part_dim,
            "hidden": self.hidden,
        }
