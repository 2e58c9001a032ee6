"""What is seen of a training while it goes on."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from deml_tf.config import TrainConfig
from deml_tf.training.progress import ProgressBar

LOSSES = {f"scale{n}_loss": 1.234 for n in range(1, 6)}


@pytest.fixture
def made(bar_clock):
    """Makes the bar of a training."""

    def make(first_step=0, **train):
        journal = SimpleNamespace(images_per_second=1234.5)
        bar = ProgressBar(first_step, TrainConfig(**train), journal)
        bar.set_model(SimpleNamespace(stop_training=False))
        return bar

    return make


def test_a_narrow_terminal_cuts_the_losses_alone(made, bar_clock):
    bar = made(steps=2000)
    for batch in range(100):
        bar_clock.now += 2
        bar.on_train_batch_end(batch, LOSSES)
    screen = io.StringIO()
    console = Console(width=80, force_terminal=True, color_system=None, file=screen)
    console.print(bar.bar.get_renderable())
    (line,) = screen.getvalue().splitlines()
    words = r"step *100/2000 ━+ +sc.* 1234.5 images/s 0:03:20 left 1:03:20"
    assert re.fullmatch(words, line), line


@pytest.mark.parametrize("first_step", [0, 100])
def test_time_left_where_some_steps_are_validated(made, bar_clock, capsys, first_step):
    """Every tenth; the first step of all is compiled for a minute."""
    bar = made(first_step, steps=400, log_every=1)
    bar_clock.now += 60
    for step in range(first_step + 1, 401):
        bar_clock.now += 3 + 200 * (step % 10 == 0)
        bar.on_train_batch_end(step - first_step - 1, {"loss": 1.0})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 400 - first_step
    for line in lines:
        step = int(re.match(r"step (\d+)/", line)[1])
        if step % 10 == 0 and step >= first_step + 40:
            truth = (400 - step) * 23
            assert float(re.search(r"(\d+) s left", line)[1]) == pytest.approx(
                truth, rel=0.15
            )


def test_the_step_that_ends_a_training_early_is_shown(made, capsys):
    bar = made(steps=200, log_every=50)
    bar.on_train_begin()
    for batch in range(80):
        bar.model.stop_training = batch == 79
        bar.on_train_batch_end(batch, {"loss": 1.0})
    bar.on_train_end()
    bar.stop()
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].startswith("step 50/200  loss 1.000  1234.5 images/s")
    assert lines[1:] == ["step 80/200  loss 1.000  1234.5 images/s", ""]
