"""Losses of Decoupled Metric Learning, one per file: functions and Keras classes."""

import keras

from deml_tf.losses.activation_decay import ACTIVATION_DECAY_WEIGHT, activation_decay
from deml_tf.losses.adversary_loss import adversary_loss, ordered_pairs
from deml_tf.losses.angular import Angular, angular
from deml_tf.losses.arcface import ArcFace, arcface
from deml_tf.losses.binomial_deviance import BinomialDeviance, binomial_deviance
from deml_tf.losses.circle import Circle, circle
from deml_tf.losses.contrastive import Contrastive, contrastive
from deml_tf.losses.cosface import CosFace, cosface
from deml_tf.losses.energy_confusion import ENERGY_CONFUSION_WEIGHT, energy_confusion
from deml_tf.losses.learner_hinge import LEARNER_HINGE_WEIGHT, learner_hinge
from deml_tf.losses.lifted_structure import LiftedStructure, lifted_structure
from deml_tf.losses.margin import Margin, margin
from deml_tf.losses.memory import CrossBatchMemory
from deml_tf.losses.multi_similarity import MultiSimilarity, multi_similarity
from deml_tf.losses.n_pairs import NPairs, n_pairs
from deml_tf.losses.normalised_softmax import NormalisedSoftmax, normalised_softmax
from deml_tf.losses.proxy_anchor import ProxyAnchor, proxy_anchor
from deml_tf.losses.proxy_nca import ProxyNCA, proxy_nca
from deml_tf.losses.proxy_nca_pp import ProxyNCAPP, proxy_nca_pp
from deml_tf.losses.smooth_ap import SmoothAP, smooth_ap
from deml_tf.losses.snr import SNR, snr
from deml_tf.losses.soft_triple import SoftTriple, soft_triple
from deml_tf.losses.supervised_contrastive import (
    SupervisedContrastive,
    supervised_contrastive,
)
from deml_tf.losses.triplet import Triplet, triplet
from deml_tf.losses.unit_rows import unit_rows

# Values of the setting `loss` and the classes behind them: a `keras.losses.Loss`, or a
# `keras.layers.Layer` with the same `call`, `build(labels_shape, embeddings_shape)` and
# the attributes `rate_multiplier` and `l2`.
METRIC_LOSSES: dict[str, type[keras.losses.Loss] | type[keras.layers.Layer]] = {
    "angular": Angular,
    "arcface": ArcFace,
    "binomial_deviance": BinomialDeviance,
    "circle": Circle,
    "contrastive": Contrastive,
    "cosface": CosFace,
    "lifted_structure": LiftedStructure,
    "margin": Margin,
    "multi_similarity": MultiSimilarity,
    "n_pairs": NPairs,
    "normalised_softmax": NormalisedSoftmax,
    "proxy_anchor": ProxyAnchor,
    "proxy_nca": ProxyNCA,
    "proxy_nca_pp": ProxyNCAPP,
    "smooth_ap": SmoothAP,
    "snr": SNR,
    "soft_triple": SoftTriple,
    "supervised_contrastive": SupervisedContrastive,
    "triplet": Triplet,
}

__all__ = [
    "ACTIVATION_DECAY_WEIGHT",
    "ENERGY_CONFUSION_WEIGHT",
    "LEARNER_HINGE_WEIGHT",
    "METRIC_LOSSES",
    "SNR",
    "Angular",
    "ArcFace",
    "BinomialDeviance",
    "Circle",
    "Contrastive",
    "CosFace",
    "CrossBatchMemory",
    "LiftedStructure",
    "Margin",
    "MultiSimilarity",
    "NPairs",
    "NormalisedSoftmax",
    "ProxyAnchor",
    "ProxyNCA",
    "ProxyNCAPP",
    "SmoothAP",
    "SoftTriple",
    "SupervisedContrastive",
    "Triplet",
    "activation_decay",
    "adversary_loss",
    "angular",
    "arcface",
    "binomial_deviance",
    "circle",
    "contrastive",
    "cosface",
    "energy_confusion",
    "learner_hinge",
    "lifted_structure",
    "margin",
    "multi_similarity",
    "n_pairs",
    "normalised_softmax",
    "ordered_pairs",
    "proxy_anchor",
    "proxy_nca",
    "proxy_nca_pp",
    "smooth_ap",
    "snr",
    "soft_triple",
    "supervised_contrastive",
    "triplet",
    "unit_rows",
]
