"""A study's progress: a bar on a terminal, and a line for each run that has ended."""

import signal
from collections.abc import Sequence

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from deml_tf.cli.printing import printable, say
from deml_tf.cli.time_left import TimeLeft
from deml_tf.studies.plan import PlannedRun
from deml_tf.studies.records import Record


class StudyProgress:
    """Shows which runs are done and under way, and how long the others will take.

    Use it as a context manager, which releases the terminal.

    Args:
        total: Number of runs of the study.
        done: Number of those that were finished before.
    """

    def __init__(self, total: int, done: int):
        """Show nothing yet."""
        self.left = TimeLeft(total, done)
        whole = Column(no_wrap=True)  # only the names may be cut off
        self.bar = Progress(
            TextColumn("runs"),
            MofNCompleteColumn(table_column=whole),
            BarColumn(bar_width=24),
            TextColumn(
                "{task.fields[current]}",
                markup=False,
                table_column=Column(no_wrap=True, ratio=1),
            ),
            TimeElapsedColumn(table_column=whole),
            TextColumn("left"),
            self.left,
            expand=True,
        )
        self.task = self.bar.add_task("", total=total, completed=done, current="")
        self.total, self.done = total, done

    def __enter__(self) -> "StudyProgress":
        """Show the bar, on a terminal."""
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar on the screen."""
        if self.bar.console.is_terminal:  # elsewhere it would print an empty line
            self.bar.stop()

    def show(self, current: Sequence[PlannedRun]) -> None:
        """Show what is under way."""
        names = "; ".join(run.name for run in current)
        self.bar.update(self.task, current=printable(names))

    def finish(self, record: Record) -> None:
        """Count a finished run, and print its score."""
        self.done += 1
        self.left.move(self.done)
        self.bar.update(self.task, completed=self.done)
        recall = record.numbers.get("recall_at_1")
        scored = "" if recall is None else f": Recall@1 {recall:.3f}"
        said = f"{record.variant}, seed {record.seed}{scored}"
        say(f"{self.done}/{self.total}  {said}")

    def tell_failure(self, run: PlannedRun, status: int) -> None:
        """Print which run failed, with the last words of its log, if any."""
        log = run.folder.log_path
        if status < 0:
            killer = signal.Signals(-status).name
            say(f"{run.name} failed, see {log}: it was killed by {killer}.")
            return
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        said = last.removeprefix("error: ") or "it said nothing."
        say(f"{run.name} failed, see {log}: {said}")
