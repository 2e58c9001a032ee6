"""Progress of embedding: a bar on a terminal, elsewhere a line for each shard."""

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from deml_tf.cli.printing import say
from deml_tf.cli.time_left import TimeLeft


class EmbeddingProgress:
    """Shows images, images per second and the time left.

    Use it as a context manager, which restores the terminal. Its clock starts when it
    is made: make it once the export is loaded or, as Ray's workers load it themselves,
    once Ray has started.

    Args:
        total: Number of images to embed.
    """

    def __init__(self, total: int):
        """Make the bar without showing it."""
        self.left = TimeLeft(total)
        self.bar = Progress(
            TextColumn("images"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rate]:.1f} images/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            self.left,
        )
        self.task = self.bar.add_task("", total=total, rate=0.0)
        self.total, self.done = total, 0

    @property
    def rate(self) -> float:
        """Images per second, up to the last finished batch or shard."""
        return self.left.per_second

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
        """Count a batch as done."""
        self.done += images
        self.left.move(self.done)
        self.bar.update(self.task, completed=self.done, rate=self.rate)

    def finish(self, name: str) -> None:
        """Print that a shard was written, unless there is a terminal."""
        self.left.move(self.done)
        if not self.bar.console.is_terminal:
            say(
                f"{name}: {self.done}/{self.total} images, {self.rate:.1f} images/s, "
                f"{self.left.seconds:.0f} s left"
            )
