"""Losses of Decoupled Metric Learning: one a file, each a function of tensors."""

import keras

from deml_tf.losses.activation_decay import ACTIVATION_DECAY_WEIGHT, activation_decay
from deml_tf.losses.binomial_deviance import BinomialDeviance, binomial_deviance
from deml_tf.losses.contrastive import Contrastive, contrastive
from deml_tf.losses.learner_hinge import LEARNER_HINGE_WEIGHT, learner_hinge
from deml_tf.losses.predictability import ordered_pairs, predictability
from deml_tf.losses.triplet import Triplet, triplet
from deml_tf.losses.unit_rows import unit_rows

# The value of the setting `loss`, and the class behind it: a `keras.losses.Loss`, or a
# `keras.layers.Layer` with the same `call`, `build(labels_shape, embeddings_shape)` and
# the attributes `rate_multiplier` and `l2`.
METRIC_LOSSES: dict[str, type[keras.losses.Loss] | type[keras.layers.Layer]] = {
    "binomial_deviance": BinomialDeviance,
    "contrastive": Contrastive,
    "triplet": Triplet,
}

__all__ = [
    "ACTIVATION_DECAY_WEIGHT",
    "LEARNER_HINGE_WEIGHT",
    "METRIC_LOSSES",
    "BinomialDeviance",
    "Contrastive",
    "Triplet",
    "activation_decay",
    "binomial_deviance",
    "contrastive",
    "learner_hinge",
    "ordered_pairs",
    "predictability",
    "triplet",
    "unit_rows",
]
