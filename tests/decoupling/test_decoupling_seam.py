"""A decoupling that a test registers: its terms, its opponent, its checkpoint."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.decoupling import DECOUPLINGS, Decoupling
from deml_tf.training.build import build_trainer
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.workers import Workers

LABELS = tf.constant([0, 0, 1, 1], tf.int32)


class Common(Decoupling):
    """An opponent follows the mean part of each learner; learners flee from it.

    Args:
        weight: Weight of the term.
        rate: Of the opponent's gradient descent.
    """

    def __init__(self, weight: float = 0.5, rate: float = 0.1):
        super().__init__(weight)
        self.term_weights = {"common_loss": weight}
        self.optimizer = keras.optimizers.SGD(rate, momentum=0.9)

    def build(self, parts_shape):
        self.centre = self.add_weight(name="centre", shape=parts_shape[1:])
        self.optimizer.build([self.centre])

    def oppose(self, parts):
        with tf.GradientTape() as tape:
            distance = self._distance(parts)
        self.optimizer.apply(tape.gradient(distance, [self.centre.value]))

    def terms(self, parts, done):
        return {"common_loss": -self._distance(parts)}

    def _distance(self, parts):
        return tf.reduce_mean(tf.square(tf.stack(parts, axis=1) - self.centre))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(DECOUPLINGS, "common", Common)


def images(seed=0):
    random = np.random.default_rng(seed)
    return tf.constant(random.uniform(0, 255, (4, 40, 40, 3)), tf.float32)


def trainer(seed=0, weight=0.5, **arguments):
    keras.utils.set_random_seed(seed)
    embedder = build_tiny(scales=1, learners=2)
    loss = LossConfig(
        decoupling="common", decoupling_arguments=arguments, decoupling_weight=weight
    )
    return build_trainer(embedder, loss, TrainConfig(steps=9, checkpoint_every=1))


def step(made, seed=0):
    return {n: float(v) for n, v in made.train_step((images(seed), LABELS)).items()}


def test_its_opponent_moves_first_and_its_term_counts():
    made = trainer(rate=0.2)
    parts = made.core(images(), training=True)["parts"]
    centre = made.decoupling.centre.numpy()
    gradient = -2 * np.mean(parts - centre, axis=0) / centre.size
    logs = step(made)
    np.testing.assert_allclose(
        made.decoupling.centre, centre - 0.2 * gradient, rtol=1e-4, atol=1e-6
    )
    distance = np.mean((parts - made.decoupling.centre) ** 2)
    assert logs["common_loss"] == pytest.approx(-distance, rel=1e-5)
    total = sum(weight * logs[name] for name, weight in made.term_weights.items())
    assert made.term_weights["common_loss"] == 0.5
    assert logs["loss"] == pytest.approx(total, rel=1e-5)


def test_its_gradient_reaches_the_embedder():
    with_term, without = trainer(weight=5.0), trainer(weight=0.0)
    step(with_term)
    step(without)
    pairs = zip(
        with_term.core.trainable_variables,
        without.core.trainable_variables,
        strict=True,
    )
    assert any(not np.array_equal(a, b) for a, b in pairs)


def test_a_checkpoint_holds_its_opponent(tmp_path):
    made = trainer()
    train = TrainConfig(steps=9, checkpoint_every=1)
    saved = Checkpoints(tmp_path, made, train, Workers())
    saved.set_model(made)
    step(made)
    saved.on_train_batch_end(0)
    step(made, seed=1)
    again = trainer(seed=1)
    restored = Checkpoints(tmp_path, again, train, Workers())
    assert restored.restore() == (1, False)
    step(again, seed=1)
    np.testing.assert_array_equal(again.decoupling.centre, made.decoupling.centre)
    for a, b in zip(
        again.decoupling.optimizer.variables,
        made.decoupling.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
