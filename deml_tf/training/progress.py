"""A progress bar with step, losses, images a second and time left."""

import time

import keras
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressBar(keras.callbacks.Callback):
    """Shows how far `fit` is, on a terminal as a bar, elsewhere as lines.

    Args:
        first_step: Steps done before this `fit`.
        last_step: Steps of the whole training.
        batch_size: Images a step.
        line_every: Steps between lines where the output is no terminal.
    """

    def __init__(self, first_step, last_step, batch_size, line_every):
        super().__init__()
        self.step = first_step
        self.last_step = last_step
        self.batch_size = batch_size
        self.line_every = line_every
        self.bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[rate]:.1f} images/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            speed_estimate_period=120,
        )
        self.task = self.bar.add_task(
            "train", total=last_step, completed=first_step, losses="", rate=0.0
        )

    def on_train_begin(self, logs=None):
        """Starts the bar; it leaves other output above itself."""
        if self.bar.console.is_terminal:
            self.bar.start()
        self.before = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Moves on by one step."""
        self.step += 1
        now = time.perf_counter()
        rate = self.batch_size / (now - self.before)
        self.before = now
        losses = "  ".join(f"{name} {value:.3f}" for name, value in logs.items())
        self.bar.update(self.task, completed=self.step, losses=losses, rate=rate)
        last = self.step == self.last_step
        if not self.bar.console.is_terminal and (
            last or self.step % self.line_every == 0
        ):
            left = self.bar.tasks[0].time_remaining
            self.bar.console.print(
                f"step {self.step}/{self.last_step}  {losses}  {rate:.1f} images/s"
                + ("" if left is None else f"  {left:.0f} s left"),
                soft_wrap=True,
            )

    def on_train_end(self, logs=None):
        """Leaves the finished bar on the screen."""
        self.stop()

    def stop(self):
        """Gives the terminal back, after an error too."""
        self.bar.stop()
