"""The time that work will still take, as a column of rich's bars."""

from rich import get_console
from rich.progress import ProgressColumn, Task
from rich.table import Column
from rich.text import Text


class TimeLeft(ProgressColumn):
    """Shows the time left, by the mean speed since its start.

    It counts down between two moves. rich's own column goes by the time from the first
    move to the last, which is zero if runs side by side end together, and by the newest
    moves, which include sometimes many and sometimes few validations.

    Args:
        total: Amount of work.
        done: How much of it is done before the start; default 0.
    """

    def __init__(self, total: int, done: int = 0):
        super().__init__(table_column=Column(no_wrap=True))
        self.total = total
        self.clock = get_console().get_time
        self.start(done)

    def start(self, done: int) -> None:
        """Start the clock, or restart it.

        Args:
            done: How much is done; it is left out of the mean.
        """
        self.done_before = self.done = done
        self.started = self.moved = self.clock()

    def move(self, done: int) -> None:
        """Record progress.

        Args:
            done: How much is done now.
        """
        self.done, self.moved = done, self.clock()

    @property
    def per_second(self) -> float:
        """Work done per second, from the start to the last move."""
        return (self.done - self.done_before) / max(self.moved - self.started, 1e-6)

    @property
    def seconds(self) -> float | None:
        """The time left; None if nothing is done yet."""
        done = self.done - self.done_before
        if not done:
            return None
        needed = (self.moved - self.started) * (self.total - self.done) / done
        return max(needed - (self.clock() - self.moved), 0.0)

    def render(self, task: Task) -> Text:
        """Show the time left as rich does.

        Args:
            task: What the bar shows.

        Returns:
            Hours, minutes and seconds.
        """
        left, shown = self.seconds, "-:--:--"
        if left is not None:
            minutes, seconds = divmod(int(left), 60)
            shown = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        return Text(shown, style="progress.remaining")
