"""A memory of past batches, by its settings, in training."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny
from test_order_of_sums import optimized_graphs, wavering_sums

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.errors import DataError, UsageError
from deml_tf.losses import METRIC_LOSSES
from deml_tf.losses.pair_loss import PairLoss
from deml_tf.training.build import build_metric_loss, build_trainer
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.workers import Workers

LABELS = tf.constant(np.repeat(np.arange(4), 2), tf.int32)
TRAIN = TrainConfig(learning_rate=1e-3, steps=9, checkpoint_every=1)


def images(seed=0):
    random = np.random.default_rng(seed)
    return tf.constant(random.uniform(0, 255, (8, 40, 40, 3)), tf.float32)


def trainer(seed=0, **settings) -> Any:
    keras.utils.set_random_seed(seed)
    settings = {"memory": 12, "memory_start": 1, **settings}
    embedder = build_tiny(scales=2, learners=2)
    return build_trainer(embedder, LossConfig(decoupling="hinge", **settings), TRAIN)


def everything(made):
    found = [*made.variables, *made.optimizer.variables]
    return [np.array(tf.convert_to_tensor(v)) for v in found]


def test_each_scale_has_a_memory_of_its_own():
    made = trainer()
    names = [layer.name for layer in made.loss_layers]
    assert names == ["scale1_loss", "scale2_loss"]
    for seed in range(3):
        made.train_step((images(seed), LABELS))
    first, second = made.loss_layers
    assert int(first.remembered) == int(second.remembered) == 16
    assert not np.allclose(first.embeddings, second.embeddings)
    assert made.embedder_variables == made.core.trainable_variables


def test_the_settings_reach_it():
    loss = LossConfig(memory=5, memory_weight=0.25, memory_start=7)
    made: Any = build_metric_loss(loss, 1, 1)
    (layer,) = made
    assert (layer.size, layer.weight, layer.start) == (5, 0.25, 7)
    assert layer.loss.cost_negative == 25  # the baseline's
    assert isinstance(build_metric_loss(LossConfig(), 1, 1), PairLoss)


def test_every_pair_loss_takes_one_and_no_other_loss():
    for name, kind in METRIC_LOSSES.items():
        loss = LossConfig(loss=name, memory=5)
        if issubclass(kind, keras.losses.Loss):
            made: Any = build_metric_loss(loss, 2, 1, num_classes=3)
            assert len(made) == 2
        else:
            with pytest.raises(UsageError, match=f"memory=5 .* loss={name} is none"):
                build_metric_loss(loss, 2, 1, num_classes=3)


def test_a_checkpoint_holds_the_memory(tmp_path):
    made = trainer()
    saved = Checkpoints(tmp_path, made, TRAIN, Workers())
    saved.set_model(made)
    for seed in range(3):
        made.train_step((images(seed), LABELS))
        saved.on_train_batch_end(seed)
    again = trainer(seed=1)
    assert Checkpoints(tmp_path, again, TRAIN, Workers()).restore() == (3, False)
    for each in (made, again):
        for seed in (3, 4):
            each.train_step((images(seed), LABELS))
    for found, wanted in zip(everything(again), everything(made), strict=True):
        np.testing.assert_array_equal(found, wanted)
    other = Checkpoints(tmp_path, trainer(memory=13), TRAIN, Workers())
    with pytest.raises(DataError, match="another network"):
        other.restore()


def test_no_sum_of_its_step_waits_for_the_moment():
    made = trainer(energy_confusion_weight=0.1)
    step = tf.function(lambda *batch: made.train_step(batch), autograph=False)
    graphs = optimized_graphs(step, images(), LABELS)
    steps = [graph for graph in graphs if len(graph.node) > 500]  # and not its parts
    assert steps
    assert not [found for graph in steps for found in wavering_sums(graph)]
