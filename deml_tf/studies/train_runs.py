"""Trains the runs of a study, some at once, and reports how each of them ended."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, sleep

from deml_tf.cli import termination
from deml_tf.errors import DataError
from deml_tf.studies import processes
from deml_tf.studies.extra_scores import EXTRA_SCORES, is_scored
from deml_tf.studies.plan import PlannedRun
from deml_tf.studies.processes import ENDED, Process, Stage, threads_of_each
from deml_tf.studies.progress import StudyProgress
from deml_tf.studies.records import Record

Keep = Callable[[PlannedRun, float | None], Record]
TRAIN, EVALUATE = "deml_tf.train", "deml_tf.evaluate"
_PAUSE = 0.05  # seconds between two looks at the processes


def train_runs(
    runs: Sequence[PlannedRun],
    keep: Keep,
    progress: StudyProgress,
    *,
    parallel: int = 1,
    seconds: float | None = None,
    also: Sequence[str] = (),
) -> tuple[list[PlannedRun], list[PlannedRun]]:
    """Train runs, each in a process of its own, or resume them.

    SIGTERM and Ctrl-C are passed on as SIGTERM; the trainings save their step and end.

    Args:
        runs: Runs in the order in which they begin.
        keep: Keeps the record of a trained run, and returns it. Called with the run and
            the largest resident memory of its training in MiB (None if it was trained
            before) when it is trained, and again after each extra score.
        progress: Told of each run once.
        parallel: Runs at once, by default 1; they share the cores.
        seconds: Time after which no run begins, and those under way are ended as by
            SIGTERM; by default there is no limit.
        also: Names of what is scored besides the unseen classes.

    Returns:
        The runs that are left, and those that failed.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; all processes have ended.
    """
    deadline = float("inf") if seconds is None else monotonic() + seconds
    waiting, active = deque(runs), []
    left, failed = [], []
    is_over = False
    try:
        while waiting or active:
            if not is_over and monotonic() >= deadline:
                is_over = True
                _terminate(active)
            if is_over:
                left += waiting
                waiting.clear()
            while waiting and len(active) < parallel:
                run = waiting.popleft()
                if stages(run, also):
                    with termination.deferred():  # or nobody would end the process
                        active.append(_Running(run, keep, also, parallel))
                else:  # another process has finished it meanwhile
                    progress.finish(keep(run, None))
            progress.show([each.run for each in active])
            for each in [each for each in active if each.has_ended(not is_over)]:
                active.remove(each)
                if each.is_whole:
                    progress.finish(each.record)
                elif is_over and each.status in (0, *ENDED):
                    left.append(each.run)
                else:
                    failed.append(each.run)
                    progress.tell_failure(each.run, each.status)
            sleep(_PAUSE if active else 0)
    except BaseException:
        _terminate(active)
        with termination.deferred():  # a second SIGTERM must not kill them
            for each in active:
                # Report what ended this, and not that a record was not kept.
                with contextlib.suppress(OSError, DataError):
                    while not each.has_ended(may_go_on=False):
                        sleep(_PAUSE)
        raise
    finally:
        for each in active:
            each.process.kill()
    return sorted(left, key=runs.index), failed


class _Running:
    """A run under way: its training, then its extra scores."""

    record: Record  # once one of its commands has succeeded

    def __init__(self, run: PlannedRun, keep: Keep, also: Sequence[str], parallel: int):
        self.run, self.peak, self._keep = run, None, keep
        self._stages = deque(stages(run, also))
        self._threads = threads_of_each(parallel)
        self._begin()

    @property
    def is_whole(self) -> bool:
        """Whether all of its commands have succeeded."""
        return self.status == 0 and not self._stages

    def has_ended(self, may_go_on: bool) -> bool:
        """Tell whether it has ended; after a process, begin the next one, if any."""
        self.status = self.process.poll()
        if self.status is None:
            return False
        if self._stage.module == TRAIN:
            self.peak = self.process.peak
        if self.status == 0:
            # Kept now, since the next score may fail, or have to wait.
            self.record = self._keep(self.run, self.peak)
        if self.status == 0 and self._stages and may_go_on:
            self._begin()
            return False
        return True

    def _begin(self) -> None:
        self._stage = self._stages.popleft()
        self.status: int | None = None
        self.process: Process = processes.Process(
            self._stage, self.run.folder.log_path, self._threads
        )


def stages(run: PlannedRun, also: Iterable[str]) -> list[Stage]:
    """Return the commands that a run still needs.

    Args:
        run: A run of a study.
        also: Names of what is scored besides the unseen classes.
    """
    needed = []
    if not run.folder.finished:
        needed.append(Stage(TRAIN, run.arguments))
    for name in also:
        if not is_scored(run.folder, name):
            arguments = [f"--run_dir={run.folder.path}", EXTRA_SCORES[name].argument]
            needed.append(Stage(EVALUATE, arguments))
    return needed


def _terminate(active: Iterable[_Running]) -> None:
    for each in active:
        each.process.terminate()
