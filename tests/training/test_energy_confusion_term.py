"""Energy confusion, by its setting, in training."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.losses import energy_confusion
from deml_tf.training.build import build_trainer

LABELS = tf.constant(np.repeat(np.arange(4), 2), tf.int32)


def images():
    random = np.random.default_rng(0)
    return tf.constant(random.uniform(0, 255, (8, 40, 40, 3)), tf.float32)


def trainer(**settings) -> Any:
    keras.utils.set_random_seed(0)
    embedder = build_tiny(scales=2, learners=2)
    loss = LossConfig(decoupling="hinge", **settings)
    return build_trainer(embedder, loss, TrainConfig(learning_rate=1e-3))


def test_energy_confusion_is_a_term_of_the_loss():
    made = trainer(energy_confusion_weight=0.13)
    outputs = made.core(images(), training=True)
    wanted = 0.0
    for i, projection in enumerate(made.projections):
        kernel = tf.convert_to_tensor(projection.kernels[0])
        wanted += float(energy_confusion(LABELS, outputs["pooled"][:, i], kernel)[0])
    logs = {k: float(v) for k, v in made.train_step((images(), LABELS)).items()}
    assert logs["energy_confusion"] == pytest.approx(wanted, rel=1e-4)
    total = sum(weight * logs[name] for name, weight in made.term_weights.items())
    assert made.term_weights["energy_confusion"] == 0.13
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
    assert "energy_confusion" not in trainer().term_weights
