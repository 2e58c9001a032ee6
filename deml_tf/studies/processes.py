"""A run's commands as processes of this machine, and the memory that they used."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deml_tf.cli import termination

# Exit statuses of a process that ended because it was asked to.
ENDED = (termination.STATUS, -signal.SIGTERM)
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


class Stage(NamedTuple):
    """One command of a run: `python -m MODULE ARGUMENTS`."""

    module: str
    arguments: Sequence[str]


class Process:
    """A process that runs a command.

    Args:
        stage: The command.
        log: File that its output is added to.
        threads: Number of threads that it may compute with; None sets no limit.

    Attributes:
        command: What starts a module, before the module's name and its arguments.
        peak: Its largest resident memory in MiB, once it has ended.
    """

    command: Sequence[str] = (sys.executable, "-m")

    def __init__(self, stage: Stage, log: Path, threads: int | None = None):
        """Start it."""
        own = {} if threads is None else dict.fromkeys(_THREADS, str(threads))
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [*self.command, stage.module, *stage.arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **own},
                # Ctrl-C then reaches only the study, which asks it to save its step.
                process_group=0,
            )
        self.peak: float | None = None

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        if self._process.returncode is None:
            number, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if number:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.peak = usage.ru_maxrss / 1024  # KiB on Linux
        return self._process.returncode

    def terminate(self) -> None:
        """Ask it to save its step and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, and wait until it has ended."""
        self._signal(signal.SIGKILL)
        while self.poll() is None:
            time.sleep(0.01)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self._process.pid, number)


def threads_of_each(parallel: int) -> int | None:
    """Return the number of threads of each of several runs at once.

    Args:
        parallel: Runs at once.

    Returns:
        Its share of the cores, at least 1; None for a single run, which takes them all.
    """
    if parallel == 1:
        return None
    return max(1, len(os.sched_getaffinity(0)) // parallel)
