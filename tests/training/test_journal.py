"""What the journal writes, and what it counts as the time of a training.

Its clock is one that tests move on.
"""

from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from deml_tf.config import TrainConfig
from deml_tf.runs.folder import RunFolder
from deml_tf.training import journal, loop
from deml_tf.training.final_scores import training_facts
from deml_tf.training.journal import Journal
from deml_tf.training.progress import ProgressBar
from deml_tf.training.workers import Workers

WAIT, STEP, OTHERS = 5.0, 2.0, 100.0  # seconds: images, step, validation and checkpoint


class Trainer:
    """As much of a trainer as the loop and the journal need."""

    optimizer = SimpleNamespace(learning_rate=0.5)

    def train_step(self, data):
        return {"loss": tf.reduce_sum(data)}

    def reset_metrics(self):
        pass


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=7.0)
    stopped = SimpleNamespace(perf_counter=lambda: clock.now)
    monkeypatch.setattr(journal, "time", stopped)
    return clock


@pytest.fixture
def run(tmp_path):
    folder = RunFolder.open(tmp_path / "run", {})
    yield folder
    folder.close()


def fit(run, clock, train, stops_at=None, first_step=0):
    """Trains to the last step, or until a callback after the journal stops it."""

    def batches():
        for _ in range(first_step, train.steps):
            clock.now += WAIT
            yield tf.ones(3)

    class Compute(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            clock.now += STEP

    class Others(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            clock.now += OTHERS

        def on_train_batch_end(self, batch, logs=None):
            clock.now += OTHERS
            if first_step + batch + 1 == stops_at:
                self.model.stop_training = True

    logged = Journal(run, first_step, train, 12, Workers())
    bar = ProgressBar(first_step, train, logged)
    loop.fit(Trainer(), batches(), [Compute(), logged, Others(), bar])
    return [record for record in run.metrics() if "seconds" in record]


def test_the_wait_for_images_counts_and_other_callbacks_do_not(run, clock):
    train = TrainConfig(steps=5, log_every=2, classes_per_batch=7)
    found = fit(run, clock, train)
    assert [(r["step"], r["seconds"]) for r in found] == [
        (2, 14.0),
        (4, 14.0),
        (5, 7.0),
    ]
    assert {r["images_per_second"] for r in found} == {2.0}  # 14 images in 7 seconds
    assert found[0]["loss"] == 3.0 and found[0]["learning_rate"] == 0.5


def test_a_line_shows_the_speed_of_its_window(run, clock, capsys):
    """Not that of a step whose time holds a validation."""
    train = TrainConfig(steps=5, log_every=2, classes_per_batch=7)
    fit(run, clock, train)
    lines = [line for line in capsys.readouterr().out.splitlines() if "step" in line]
    assert [line.split("  ")[:3] for line in lines] == [
        [f"step {step}/5", "loss 3.000", "2.0 images/s"] for step in (2, 4, 5)
    ]


def test_the_learning_rate_is_that_of_the_step(run, clock, monkeypatch):
    """Keras's optimizer has counted a step on, and gives the next rate, at its end."""

    class Optimizer:
        @property
        def learning_rate(self):
            return clock.now

    monkeypatch.setattr(Trainer, "optimizer", Optimizer())
    found = fit(run, clock, TrainConfig(steps=3, log_every=1, classes_per_batch=7))
    begins = [7 + OTHERS + n * (WAIT + STEP + OTHERS) for n in range(3)]
    assert [record["learning_rate"] for record in found] == begins


def test_tensorboard_has_the_numbers_of_the_file(run, clock):
    train = TrainConfig(steps=5, log_every=2, classes_per_batch=7)
    found = fit(run, clock, train)
    # Of 12 images, in batches of 14.
    assert [r["epoch"] for r in found] == [2 * 14 / 12, 4 * 14 / 12, 5 * 14 / 12]
    shown = {}
    (path,) = run.tensorboard_path.iterdir()
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            number = float(tf.make_ndarray(value.tensor))
            shown.setdefault(event.step, {})[value.tag] = number
    assert shown == {
        r["step"]: {n: v for n, v in r.items() if n not in ("step", "epoch")}
        for r in found
    }


@pytest.mark.parametrize(("stops_at", "steps"), [(5, [2, 4, 5]), (4, [2, 4])])
def test_a_training_that_stops_early_logs_all_its_steps(run, clock, stops_at, steps):
    train = TrainConfig(steps=9, log_every=2, classes_per_batch=7)
    found = fit(run, clock, train, stops_at)
    assert [record["step"] for record in found] == steps
    facts = training_facts(run)
    assert facts["steps"] == stops_at and facts["seconds"] == 7.0 * stops_at
    assert facts["images_per_second"] == pytest.approx(2.0)


def test_a_training_that_goes_on_counts_each_step_once(run, clock):
    train = TrainConfig(steps=9, log_every=4, classes_per_batch=7)
    fit(run, clock, train, stops_at=3)
    found = fit(run, clock, train, first_step=3)
    assert [(r["step"], r["seconds"]) for r in found] == [
        (3, 21.0),
        (4, 7.0),
        (8, 28.0),
        (9, 7.0),
    ]


def test_nothing_is_waited_for_once_it_is_stopped(clock):
    asked = []

    class Stop(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.stop_training = True

        def on_train_batch_begin(self, batch, logs=None):
            asked.append(batch)

    loop.fit(Trainer(), iter(lambda: asked.append("images"), 0), [Stop()])
    assert asked == []
