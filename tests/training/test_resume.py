"""A training that is killed and started again ends as one that never was."""

import os
import random
import re
import signal
import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from forks import Fork
from small_backbone import run_command

from deml_tf.errors import DataError
from deml_tf.runs.folder import RunFolder
from deml_tf.training.journal import Journal
from deml_tf.training.non_finite import StopOnNonFinite

STEPS = 30


def final_weights(folder):
    loaded: Any = keras.saving.load_model(folder.embedder_path)
    newest = tf.train.latest_checkpoint(folder.checkpoints_path)
    reader = tf.train.load_checkpoint(newest)
    state = {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH" and "save_counter" not in name
    }
    return [v.numpy() for v in loaded.variables], state


def losses(run):
    return [record["loss"] for record in run.metrics() if "loss" in record]


def last_step(run):
    return max((r["step"] for r in run.metrics()), default=0)


@pytest.fixture(scope="module")
def flags(tiny_flags):
    """A training long enough to be killed in its course."""
    own = ["--log_every=1", "--evaluate_every=5", "--checkpoint_every=4"]
    return [*tiny_flags, f"--steps={STEPS}", *own]


@pytest.fixture(scope="module")
def calm(command, flags, tmp_path_factory):
    """A run that nobody disturbed."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "calm")
    status, _, errors = command("train", *flags, f"--run_dir={run.path}")
    assert status == 0, errors
    return run


def train_without_end(*flags):
    """A training that waits after its last step, until it is killed."""
    Journal.on_train_end = lambda self, logs=None: signal.pause()
    run_command("deml_tf.train", *flags)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.long)])
def test_killed_at_random_moments(kills, command, flags, calm, tmp_path, capsys):
    """Kills spread over the training: at the start, between saves, while saving."""
    kills = int(os.environ.get("DEML_TF_KILLS") or kills)
    killed = RunFolder(tmp_path / "killed")
    chance = random.Random(os.environ.get("DEML_TF_KILL_SEED", "0"))
    for kill in range(kills):
        process = Fork(train_without_end, *flags, f"--run_dir={killed.path}")
        target = STEPS * (kill + chance.random()) / (kills + 1)
        while process.poll() is None and last_step(killed) < target:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.3))
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with capsys.disabled():
            print(f"\nkilled at step {last_step(killed)}, waited for {target:.1f}")
    status, output, errors = command("train", *flags, f"--run_dir={killed.path}")
    assert status == 0, errors
    assert "Going on from step" in output

    embedder, state = final_weights(calm)
    embedder_again, state_again = final_weights(killed)
    for a, b in zip(embedder, embedder_again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert state.keys() == state_again.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(value, state_again[name], err_msg=name)
    assert len(losses(killed)) == len(losses(calm))
    assert calm.read_json("results.json")["test"] == pytest.approx(
        killed.read_json("results.json")["test"], abs=0
    )


OTHERS = {
    "schedules and crops": [
        "--augmentation=random_resized_crop",
        "--optimizer=adamw",
        "--weight_decay=0.5",
        "--schedule=cosine",
        "--warmup_steps=3",
    ],
    "proxies": ["--loss=proxy_anchor"],
    "separation": [
        "--region_rule=separation",
        "--separation_learned",
        "--separation_least=0",
    ],
    "memory": ["--loss=contrastive", "--memory=12", "--memory_start=2"],
    "proxies of a loss with boundaries": ["--loss=margin", "--margin_per_class"],
}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kind", OTHERS)
def test_killed_with_other_state(kind, command, tiny_flags, calm, tmp_path):
    own = [*OTHERS[kind], "--steps=30", "--log_every=1", "--checkpoint_every=2"]
    whole, killed = (RunFolder(tmp_path / name) for name in ("whole", "killed"))
    status, _, errors = command("train", *tiny_flags, *own, f"--run_dir={whole.path}")
    assert status == 0, errors
    assert losses(whole) != losses(calm)  # the flags were heard
    process = Fork(train_without_end, *tiny_flags, *own, f"--run_dir={killed.path}")
    while process.poll() is None and last_step(killed) < 7:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = command("train", *tiny_flags, *own, f"--run_dir={killed.path}")
    assert again[0] == 0 and "Going on from step" in again[1], again[2]
    embedder, state = final_weights(whole)
    embedder_again, state_again = final_weights(killed)
    for a, b in zip(embedder, embedder_again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert state.keys() == state_again.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(value, state_again[name], err_msg=name)


@pytest.mark.slow
def test_another_seed_is_another_run(command, flags, calm, tmp_path):
    """With one seed they are one: the killed run above is the calm one."""
    run = RunFolder(tmp_path / "other")
    other = [f"--run_dir={run.path}", "--seed=1", "--steps=1", "--noscore_frozen"]
    assert command("train", *flags, *other)[0] == 0
    first, second = (next(r for r in x.metrics() if "loss" in r) for x in (calm, run))
    assert first["step"] == second["step"] == 1
    assert first["metric_loss"] != second["metric_loss"]
    assert run.read_json("results.json")["frozen"] is None
    assert "frozen start" not in run.report_path.read_text()
    _, output, errors = command("compare", str(calm.path), str(run.path))
    assert output.count("frozen start") == 1, errors


def test_nonfinite_loss_names_step_loss_and_files():
    stop = StopOnNonFinite(4, lambda step: [f"{step}a.jpg", f"{step}b.jpg"])
    stop.on_train_batch_end(0, {"loss": 1.0, "metric_loss": 1.0})
    with pytest.raises(DataError) as caught:
        stop.on_train_batch_end(
            1, {"loss": np.nan, "metric_loss": 1.0, "hinge_loss": np.inf}
        )
    words = str(caught.value)
    assert "step 6" in words and "hinge_loss is inf" in words
    assert "5a.jpg, 5b.jpg" in words and "metric_loss" not in words


@pytest.mark.slow
def test_a_diverging_run_stops_and_keeps_its_checkpoint(command, tiny_flags, tmp_path):
    run = RunFolder(tmp_path / "diverging")
    status, _, errors = command(
        "train",
        *tiny_flags,
        f"--run_dir={run.path}",
        "--learning_rate=1e30",
        "--checkpoint_every=1",
        "--log_every=1",
    )
    assert status == 1 and "Traceback" not in errors
    named = re.search(r"At step ([0-9]+) .*\.png", errors)
    assert named, errors
    before = int(named[1]) - 1
    newest = tf.train.latest_checkpoint(run.checkpoints_path)
    assert newest and newest.endswith(f"-{before}") and last_step(run) == before
    reader = tf.train.load_checkpoint(newest)
    for name, dtype in reader.get_variable_to_dtype_map().items():
        if dtype.is_floating:
            assert np.isfinite(reader.get_tensor(name)).all(), name
    assert not run.finished
