import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.cli import termination
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


def small(folder):
    """Checkpoints of a few numbers, two of them written, and the value of each step."""
    trainer = keras.Sequential([keras.Input([4]), keras.layers.Dense(4)])
    trainer.stop_training = False
    made = checkpoints_of(folder, trainer)

    def fill(value):
        for variable in trainer.weights:
            variable.assign(np.full(variable.shape, value))

    return made, trainer, fill


@pytest.fixture
def two(tmp_path):
    """A folder with the checkpoints of steps 1 and 2, and what they hold."""
    made, trainer, fill = small(tmp_path)
    for step in (1, 2):
        fill(float(step))
        made.on_train_batch_end(0)
    return tmp_path


def restored(folder):
    """The step restored, and the only value in the weights."""
    made, trainer, fill = small(folder)
    fill(9.0)
    step, _ = made.restore()
    (value,) = {float(v) for w in trainer.weights for v in np.ravel(w)}
    return step, value


@pytest.mark.parametrize(
    "name", ["ckpt-2.index", "ckpt-2.data-00000-of-00001", "checkpoint"]
)
@pytest.mark.parametrize("spoil", ["cut", "empty", "missing", "other"])
def test_the_one_before_takes_the_place_of_a_spoilt_one(two, name, spoil, capsys):
    content = (two / name).read_bytes()
    spoilt = {"cut": content[: len(content) // 2], "empty": b"", "other": b"x" * 99}
    if spoil == "missing":
        (two / name).unlink()
    else:
        (two / name).write_bytes(spoilt[spoil])
    # The file that names the checkpoints is not needed.
    whole = 2.0 if name == "checkpoint" else 1.0
    assert restored(two) == (whole, whole)
    noted = "ckpt-2 cannot be read" in capsys.readouterr().out
    assert noted == (whole == 1.0 and (name, spoil) != ("ckpt-2.index", "missing"))
    made, _, fill = small(two)
    made.restore()
    for step in (2, 3) if whole == 1.0 else (3,):
        fill(float(step))
        made.on_train_batch_end(0)
    assert restored(two) == (3.0, 3.0)
    assert {path.name for path in two.glob("ckpt-*.index")} == {
        "ckpt-2.index",
        "ckpt-3.index",
    }


def test_one_that_cannot_be_read_now_is_kept(two, monkeypatch, capsys):
    """Its disk may answer again."""
    restore, failed = Checkpoints._restore, []

    def fail_once(self, path):
        if not failed:
            failed.append(path)
            raise tf.errors.UnavailableError(None, None, "Stale file handle")
        restore(self, path)

    monkeypatch.setattr(Checkpoints, "_restore", fail_once)
    assert restored(two) == (1.0, 1.0)
    assert f"is kept as {two}/unreadable-ckpt-2" in capsys.readouterr().out
    for path in two.glob("unreadable-*"):
        path.rename(two / path.name.removeprefix("unreadable-"))
    assert restored(two) == (2.0, 2.0)


def test_a_folder_with_nothing_but_a_spoilt_name_file(tmp_path):
    (tmp_path / "checkpoint").write_text("")
    made, _, fill = small(tmp_path)
    assert made.restore() == (0, False)
    fill(1.0)
    made.on_train_batch_end(0)
    assert restored(tmp_path) == (1.0, 1.0)


def test_no_flipped_byte_reaches_the_weights(two):
    for name, every in (("ckpt-2.data-00000-of-00001", 41), ("ckpt-2.index", 53)):
        content = (two / name).read_bytes()
        for place in range(0, len(content), every):
            spoilt = bytearray(content)
            spoilt[place] ^= 1 << place % 8
            other = two.parent / f"flipped {name} {place}"
            shutil.copytree(two, other)
            (other / name).write_bytes(spoilt)
            step, value = restored(other)
            assert step == value and step in (1.0, 2.0), (name, place)
            shutil.rmtree(other)


def test_the_step_of_sigterm_is_saved(two, monkeypatch):
    made, _, fill = small(two)
    made.train = TrainConfig(steps=99, checkpoint_every=50)
    made.restore()
    made.on_train_begin()
    assert not made.model.stop_training
    fill(3.0)
    made.on_train_batch_end(0)
    assert not made.leaving and restored(two) == (2.0, 2.0)
    monkeypatch.setattr(termination, "_asked", True)
    fill(4.0)
    made.on_train_batch_end(1)
    assert made.leaving and made.model.stop_training
    assert restored(two) == (4.0, 4.0)
    again, _, _ = small(two)
    assert again.restore() == (4, False)
    again.on_train_begin()
    assert again.leaving and again.model.stop_training
    # Nothing is left to be done but what comes after the last step.
    monkeypatch.setattr(termination, "_asked", False)
    last, _, _ = small(two)
    last.train = TrainConfig(steps=4)
    assert last.restore() == (4, False)
    last.on_train_begin()
    assert not last.leaving and last.model.stop_training
    assert small(two)[0].restore() == (4, True)
