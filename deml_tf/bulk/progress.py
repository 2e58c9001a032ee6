"""How far embedding is: a bar on a terminal, elsewhere a line for each shard."""

import time

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from deml_tf.cli.printing import say


class EmbeddingProgress:
    """Shows images, images a second and the time left.

    Use it as a context manager, which gives the terminal back.

    Args:
        total: Images to embed.
    """

    def __init__(self, total: int):
        """Show nothing yet."""
        self.bar = Progress(
            TextColumn("images"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rate]:.1f} images/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            speed_estimate_period=120,
        )
        self.task = self.bar.add_task("", total=total, rate=0.0)
        self.total, self.done, self.started = total, 0, time.monotonic()

    @property
    def rate(self) -> float:
        """Images a second since the start."""
        return self.done / max(time.monotonic() - self.started, 1e-6)

    def __enter__(self) -> "EmbeddingProgress":
        """Show the bar, on a terminal."""
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar on the screen."""
        if self.bar.console.is_terminal:  # elsewhere it would print an empty line
            self.bar.stop()

    def advance(self, images: int) -> None:
        """Move on by a batch."""
        self.done += images
        self.bar.update(self.task, completed=self.done, rate=self.rate)

    def finish(self, name: str) -> None:
        """Tell, where there is no terminal, that a shard was written."""
        if not self.bar.console.is_terminal:
            left = (self.total - self.done) / self.rate
            say(
                f"{name}: {self.done}/{self.total} images, {self.rate:.1f} images/s, "
                f"{left:.0f} s left"
            )
