"""A disk that is full: what was saved stays whole, and one sentence says so."""

import contextlib
import errno
import os
import resource
import subprocess
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from forks import Fork
from small_backbone import run_command

from deml_tf.cli import command
from deml_tf.cli.error_text import explain_disk, explain_memory, no_room
from deml_tf.config import TrainConfig
from deml_tf.errors import DataError
from deml_tf.runs.atomic import write_atomically
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.workers import Workers


@contextlib.contextmanager
def largest_file(size):
    """No file of this process may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path):
    """A folder of 3 MiB, where the user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def training(folder):
    """Checkpoints of two megabytes at every step."""
    layer = keras.layers.Dense(512, kernel_initializer="zeros", use_bias=False)
    trainer = keras.Sequential([keras.Input([512]), layer])
    trainer.momentum = tf.Variable(tf.zeros([2**18]))
    callback = Checkpoints(
        folder, trainer, TrainConfig(steps=99, checkpoint_every=1), Workers()
    )
    callback.set_model(SimpleNamespace(stop_training=False))
    return callback, layer.kernel


def files(folder):
    return sorted(entry.name for entry in folder.iterdir())


def fail_at_step_two(folder, words, full, room):
    """Step 1 is saved, step 2 is not, and step 3 is where there is room again."""
    callback, weights = training(folder)
    weights.assign(tf.ones([512, 512]))
    callback.on_train_batch_end(0)
    whole = {name: (folder / name).read_bytes() for name in files(folder)}
    with full(), pytest.raises(DataError) as caught:
        callback.on_train_batch_end(1)
    sentence = str(caught.value)
    assert "step 2" in sentence and "that of step 1 is whole" in sentence
    assert words in sentence and str(folder) in sentence
    assert "free space and give the same command again" in sentence
    assert {name: (folder / name).read_bytes() for name in files(folder)} == whole

    room()
    again, weights = training(folder)
    assert again.restore() == (1, False)
    np.testing.assert_array_equal(weights, np.ones([512, 512]))
    again.on_train_batch_end(1)
    assert "ckpt-2.index" in files(folder)


def test_previous_checkpoint_survives_a_limit(tmp_path):
    folder = tmp_path / "checkpoints"
    limit = 300_000
    fail_at_step_two(
        folder, os.strerror(errno.EFBIG), lambda: largest_file(limit), lambda: None
    )


def test_previous_checkpoint_survives_a_full_disk(small_disk):
    folder = small_disk / "checkpoints"
    grow = ["mount", "-o", "remount,size=12m", str(small_disk)]
    fail_at_step_two(
        folder,
        os.strerror(errno.ENOSPC),
        contextlib.nullcontext,
        lambda: subprocess.run(grow, check=True),
    )


def test_without_a_previous_checkpoint_nothing_is_left(tmp_path):
    callback, _ = training(tmp_path / "checkpoints")
    with largest_file(300_000), pytest.raises(DataError, match="none before it"):
        callback.on_train_batch_end(0)
    assert files(tmp_path / "checkpoints") == []
    assert training(tmp_path / "checkpoints")[0].restore() == (0, False)


def test_other_errors_of_saving_stay_themselves(tmp_path, monkeypatch):
    callback, _ = training(tmp_path / "checkpoints")

    def fail(**_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(callback.manager, "save", fail)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        callback.on_train_batch_end(0)


def test_what_a_killed_saving_leaves_is_removed(tmp_path):
    folder = tmp_path / "checkpoints"
    callback, _ = training(folder)
    callback.on_train_batch_end(0)
    callback.on_train_batch_end(1)
    whole = files(folder)
    (folder / "ckpt-3_temp").mkdir()
    (folder / "ckpt-3_temp" / "part-00000-of-00001.data").write_bytes(b"half")
    (folder / "ckpt-3.data-00000-of-00001").write_bytes(b"no index")
    (folder / "checkpoint.tmp0123").write_text("half")
    (folder / "mine.txt").write_text("a note")
    assert training(folder)[0].restore() == (2, False)
    assert files(folder) == sorted([*whole, "mine.txt"])


def test_a_full_disk_is_known_by_its_words():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/metrics.jsonl")
    assert no_room(full) == "No space left on device"
    assert "/run/metrics.jsonl (No space" in str(explain_disk(full))
    quota = tf.errors.ResourceExhaustedError(None, None, "x; Disk quota exceeded")
    assert no_room(quota) == "Disk quota exceeded"
    hdf5 = RuntimeError(
        "Can't decrement id ref count (file write failed: errno = 28, error message = "
        "'No space left on device')"
    )
    tidying = AttributeError("no file")
    tidying.__context__ = hdf5
    assert no_room(tidying) == "No space left on device"
    for other in (
        ValueError("No space left on device"),
        OSError(errno.ENOENT, "No such file or directory", "x"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
    ):
        assert no_room(other) is None and explain_disk(other) is None


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no room to write /run/x (No space left on device)"),
        (errno.EDQUOT, "no room to write /run/x (Disk quota exceeded)"),
        (errno.EACCES, "/run/x cannot be read or written (Permission denied)"),
        (errno.EROFS, "/run/x cannot be read or written (Read-only file system)"),
    ],
)
def test_commands_end_with_a_sentence(number, words, capsys):
    def main(_):
        raise OSError(number, os.strerror(number), "/run/x")

    with pytest.raises(SystemExit) as ended:
        command._guarded(main, ["command"], "Interrupted.")
    assert ended.value.code == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and words in errors
    assert errors.count("\n") == 1


def test_whole_files_name_themselves_and_leave_the_old_one(tmp_path):
    path = tmp_path / "results.json"
    write_atomically(path, b"old")
    with largest_file(1000), pytest.raises(OSError) as caught:
        write_atomically(path, b"new" * 1000)
    assert str(path) in str(explain_disk(caught.value))
    assert path.read_bytes() == b"old" and files(tmp_path) == ["results.json"]


def train_with_small_files(*flags):
    with largest_file(2**20):
        run_command("deml_tf.train", *flags)


@pytest.mark.slow
def test_a_training_ends_with_a_sentence(tiny_flags, tmp_path):
    run = tmp_path / "run"
    # Its checkpoints are larger than the limit.
    flags = [
        *tiny_flags,
        "--width=1",
        "--scales=1",
        "--learners=1",
        "--decoupling=none",
    ]
    flags += ["--checkpoint_every=1", "--validation_classes=0", f"--run_dir={run}"]
    process = Fork(train_with_small_files, *flags)
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert "checkpoint of step 1 could not be written" in errors
    assert "File too large" in errors and "Traceback" not in errors
    assert files(run / "checkpoints") == []


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating [9,9]"),
        MemoryError("Unable to allocate 9.31 GiB"),
        MemoryError(),
    ],
)
def test_memory_that_ran_out_is_said_in_a_sentence(error):
    told = str(explain_memory(error))
    message = getattr(error, "message", str(error))
    shown = f" ({message})" if message else ""
    assert told.startswith(f"memory ran out{shown}; what was saved before is whole")
    assert explain_memory(ValueError(message)) is None
