"""A metric loss with weights of its own, registered: trained, saved, resumed."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from proxies import Proxies
from small_backbone import build_tiny

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.errors import DataError
from deml_tf.losses import METRIC_LOSSES
from deml_tf.training.build import build_trainer
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.workers import Workers

CLASSES = 4
LABELS = tf.constant(np.repeat(np.arange(CLASSES), 2), tf.int32)
RATE = 1e-3


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(METRIC_LOSSES, "proxies", Proxies)


def images(seed=0):
    random = np.random.default_rng(seed)
    return tf.constant(random.uniform(0, 255, (8, 40, 40, 3)), tf.float32)


def trainer(seed=0, num_classes=CLASSES, decoupling="none", **arguments):
    keras.utils.set_random_seed(seed)
    embedder = build_tiny(scales=2, learners=2)
    loss = LossConfig(loss="proxies", loss_arguments=arguments, decoupling=decoupling)
    train = TrainConfig(learning_rate=RATE, steps=9, l2=0.0)
    return build_trainer(embedder, loss, train, num_classes)


def step(made, seed=0):
    return made.train_step((images(seed), LABELS))


def everything(made):
    """All that a training changes."""
    optimizers = [made.optimizer]
    if hasattr(made.decoupling, "predictors"):
        optimizers.append(made.decoupling.predictors.optimizer)
    found = [*made.variables, *(v for o in optimizers for v in o.variables)]
    return [np.array(tf.convert_to_tensor(v)) for v in found]


def test_each_scale_has_a_layer_of_its_own():
    made = trainer(slope=3.0)
    assert [layer.name for layer in made.loss_layers] == ["scale1_loss", "scale2_loss"]
    assert [layer.slope for layer in made.loss_layers] == [3.0, 3.0]
    assert [layer.proxies.shape for layer in made.loss_layers] == [(CLASSES, 6)] * 2
    expected = 0.0
    parts = made.core(images(), training=True)["parts"]
    for i, layer in enumerate(made.loss_layers):
        expected += float(tf.reduce_mean(layer.call(LABELS, parts[:, i])))
    assert float(step(made)["metric_loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("multiplier", [1.0, 30.0])
def test_its_weights_are_trained_at_their_own_rate(multiplier):
    """The first step of Adam is the learning rate, whatever the gradient."""
    made = trainer(rate_multiplier=multiplier)
    before = [layer.proxies.numpy() for layer in made.loss_layers]
    step(made)
    for layer, old in zip(made.loss_layers, before, strict=True):
        moved = np.abs(layer.proxies.numpy() - old)
        assert np.median(moved) == pytest.approx(RATE * multiplier, rel=0.01)


def test_its_weights_have_their_own_l2():
    """So strong that the first step of Adam goes towards zero everywhere."""
    made = trainer(l2=1e6)
    before = [layer.proxies.numpy() for layer in made.loss_layers]
    step(made)
    for layer, old in zip(made.loss_layers, before, strict=True):
        towards_zero = np.sign(layer.proxies.numpy() - old) == -np.sign(old)
        assert towards_zero.all()


@pytest.mark.parametrize("decoupling", ["hinge", "adversary", "reversal"])
def test_a_checkpoint_holds_all_of_the_state(decoupling, tmp_path):
    train = TrainConfig(steps=9, checkpoint_every=1)
    made = trainer(decoupling=decoupling)
    saved = Checkpoints(tmp_path, made, train, Workers())
    saved.set_model(made)
    step(made)
    saved.on_train_batch_end(0)
    step(made, seed=1)

    again = trainer(seed=1, decoupling=decoupling)
    restored = Checkpoints(tmp_path, again, train, Workers())
    assert restored.restore() == (1, False)
    step(again, seed=1)
    for found, wanted in zip(everything(again), everything(made), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_checkpoint_of_other_losses_is_refused(tmp_path):
    train = TrainConfig(steps=9, checkpoint_every=1)
    made = trainer()
    saved = Checkpoints(tmp_path, made, train, Workers())
    saved.set_model(made)
    saved.on_train_batch_end(0)
    other = Checkpoints(tmp_path, trainer(num_classes=CLASSES + 1), train, Workers())
    with pytest.raises(DataError, match="another network"):
        other.restore()
