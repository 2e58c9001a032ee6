"""The memory that a piece of work takes: what the process held at its peak."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEGABYTE = 10**6


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of a module in a process of its own, and returns its result.

    Args:
        function: The new process finds it again by its name.
        *arguments: What it is called with.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(function, arguments)


def resident() -> int:
    """Returns the bytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_of(work: Callable[[], object]) -> int:
    """Returns the most bytes of this process that were in memory during some work.

    This is the kernel's own record, reset to the present before the work. Unlike
    `ru_maxrss` it does not start from what the parent process held.

    Args:
        work: Called once.
    """
    Path("/proc/self/clear_refs").write_text("5")
    work()
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/self/status has no line VmHWM.")
