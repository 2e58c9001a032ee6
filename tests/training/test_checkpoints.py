import keras
import numpy as np
import pytest
from small_backbone import build_tiny

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.training.build import build_trainer
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.workers import Workers

EVERY_STEP = TrainConfig(steps=99, checkpoint_every=1)


def checkpoints_of(folder, trainer):
    made = Checkpoints(folder, trainer, EVERY_STEP, Workers())
    made.set_model(trainer)
    return made


def tiny_trainer():
    embedder = build_tiny(scales=1, learners=1)
    return build_trainer(embedder, LossConfig(), TrainConfig())


@pytest.mark.parametrize("lost", [True, False])
def test_a_kill_before_the_first_checkpoint_is_named(tmp_path, lost):
    """The index is whole by then, and the file that names the newest is not there."""
    trainer = tiny_trainer()
    checkpoints = checkpoints_of(tmp_path, trainer)
    for step in range(11):  # of two digits, which names would sort before one
        checkpoints.on_train_batch_end(step)
    if lost:
        (tmp_path / "checkpoint").unlink()
    (tmp_path / "ckpt-12_temp").mkdir()
    other = tiny_trainer()
    again = checkpoints_of(tmp_path, other)
    assert again.restore() == (11, False)
    assert not (tmp_path / "ckpt-12_temp").exists()
    assert (tmp_path / "ckpt-11.index").exists()
    for old, new in zip(trainer.core.weights, other.core.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_layers_that_draw_go_on_from_their_state(tmp_path):
    """EfficientNet drops whole blocks in training, by draws of its own."""
    keras.utils.set_random_seed(0)
    embedder = build_deml(
        backbone="efficientnet_b0",
        weights="none",
        batch_norm="frozen",
        input_size=64,
        scales=1,
        learners=1,
        embedding_dim=8,
    )
    trainer = build_trainer(embedder, LossConfig(), TrainConfig())
    core = core_of(embedder)
    image = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3))
    checkpoints = checkpoints_of(tmp_path, trainer)
    checkpoints.on_train_batch_end(0)

    def drawn():
        return core(image, training=True)["embedding"].numpy()

    first, second = drawn(), drawn()
    assert np.abs(first - second).max() > 1e-4
    assert checkpoints.restore() == (1, False)
    np.testing.assert_array_equal(drawn(), first)
