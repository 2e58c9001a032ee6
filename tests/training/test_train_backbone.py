"""A training of gates, projections and proxies on backbones that stay as they are."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.errors import UsageError
from deml_tf.models.embedder import core_of
from deml_tf.training.build import build_trainer
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.workers import Workers

LABELS = tf.constant(np.repeat(np.arange(4), 2), tf.int32)
TRAIN = TrainConfig(learning_rate=1e-2, steps=9, checkpoint_every=1, l2=0.1)
HEADS = ("projection", "channel_attention", "loss")


def images(seed=0):
    random = np.random.default_rng(seed)
    return tf.constant(random.uniform(0, 255, (8, 40, 40, 3)), tf.float32)


def trainer(seed=0, **settings) -> Any:
    keras.utils.set_random_seed(seed)
    embedder = build_tiny(
        scales=2, learners=2, train_backbone=False, seed=seed, **settings
    )
    return build_trainer(embedder, LossConfig(loss="proxy_anchor"), TRAIN, 4)


def values(variables):
    return {v.path: np.array(tf.convert_to_tensor(v)) for v in variables}


def is_head(path):
    return any(f"_{name}/" in path for name in HEADS)


@pytest.mark.parametrize("batch_norm", ["auto", "frozen"])
def test_the_heads_alone_are_trained(batch_norm):
    made = trainer(batch_norm=batch_norm)
    before = values(made.variables)
    backbones = [path for path in before if "lower" in path or "upper" in path]
    assert any("moving_mean" in path for path in before)
    step = tf.function(made.train_step, autograph=False)
    for seed in range(2):
        step((images(seed), LABELS))
    after = values(made.variables)
    trained = {v.path for v in made.embedder_variables}
    assert all(is_head(path) for path in trained)
    assert sum("_loss/" in path for path in trained) == 2
    assert sum("_projection/" in path for path in trained) == 2
    assert sum("_channel_attention/" in path for path in trained) == 8
    for path in {*backbones, *trained}:
        changed = not np.array_equal(before[path], after[path])
        assert changed == (path in trained), path
    # Two moments for each variable that is trained, the step and the learning rate.
    assert len(made.optimizer.variables) == 2 * len(trained) + 2


def test_a_backbone_that_is_trained_is_not_concerned():
    whole = core_of(build_tiny(scales=1, learners=2))
    heads = core_of(build_tiny(scales=1, learners=2, train_backbone=False))
    assert len(heads.trainable_variables) == 5
    assert len(whole.trainable_variables) > 15
    assert len(whole.variables) == len(heads.variables)


def test_a_checkpoint_goes_on(tmp_path):
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
    for kept in ("variables", "optimizer"):
        found, wanted = (
            getattr(each, kept) if kept == "variables" else each.optimizer.variables
            for each in (again, made)
        )
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def test_saved_and_loaded_it_stays_frozen(tmp_path):
    embedder = build_tiny(scales=1, learners=2, train_backbone=False)
    embedder.save(tmp_path / "embedder.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "embedder.keras")
    np.testing.assert_array_equal(loaded(images()), embedder(images()))
    assert len(core_of(loaded).trainable_variables) == 5


def test_norms_cannot_be_trained_alone():
    with pytest.raises(UsageError, match="batch_norm=train is not for train_backbone"):
        build_tiny(batch_norm="train", train_backbone=False)
