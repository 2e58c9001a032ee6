"""A progress bar with step, losses, images per second and time left."""

import keras
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from deml_tf.cli.time_left import TimeLeft
from deml_tf.config import TrainConfig
from deml_tf.training.batch_diagnostics import DIAGNOSTICS
from deml_tf.training.journal import Journal


class ProgressBar(keras.callbacks.Callback):
    """Shows how far a training is: on a terminal as a bar, elsewhere as lines.

    Args:
        first_step: Steps done before this `fit`.
        train: Says the steps, and `log_every`, the steps between lines.
        journal: Called before this callback; knows the images per second.
    """

    def __init__(self, first_step: int, train: TrainConfig, journal: Journal):
        super().__init__()
        self.step = first_step
        self.train = train
        self.journal = journal
        self.left = TimeLeft(train.steps, first_step)
        whole = Column(no_wrap=True)  # only the losses may be cut off
        self.bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(table_column=whole),
            BarColumn(bar_width=24),
            TextColumn(
                "{task.fields[losses]}", table_column=Column(no_wrap=True, ratio=1)
            ),
            TextColumn("{task.fields[rate]:.1f} images/s"),
            TimeElapsedColumn(table_column=whole),
            TextColumn("left"),
            self.left,
            expand=True,
        )
        self.task = self.bar.add_task(
            "train", total=train.steps, completed=first_step, losses="", rate=0.0
        )

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Show the bar; other output goes above it."""
        if self.bar.console.is_terminal:
            self.bar.start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Advance by one step."""
        self.step += 1
        self.left.move(self.step)
        if not batch:  # the first step is compiled, so its time says nothing
            self.left.start(self.step)
        rate = self.journal.images_per_second
        losses = "  ".join(
            f"{name} {value:.3f}"
            for name, value in (logs or {}).items()
            if name not in DIAGNOSTICS
        )
        self.bar.update(self.task, completed=self.step, losses=losses, rate=rate)
        last = self.step == self.train.steps or self.model.stop_training
        if not self.bar.console.is_terminal and (
            last or self.step % self.train.log_every == 0
        ):
            left = None if self.model.stop_training else self.left.seconds
            self.bar.console.print(
                f"step {self.step}/{self.train.steps}  {losses}  {rate:.1f} images/s"
                + ("" if left is None else f"  {left:.0f} s left"),
                soft_wrap=True,
            )

    def on_train_end(self, logs: dict | None = None) -> None:
        """Leave the finished bar on the screen."""
        self.stop()

    def stop(self) -> None:
        """Release the terminal, after an error too."""
        if self.bar.console.is_terminal:  # elsewhere it would print an empty line
            self.bar.stop()
