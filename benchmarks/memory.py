"""How much memory a piece of work takes: what the process held at its peak."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEGABYTE = 10**6


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of a module in a process of its own, and gives its result.

    Args:
        function: Found by its name again in the new process.
        *arguments: What it is called with.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(function, arguments)


def resident() -> int:
    """Bytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_of(work: Callable[[], object]) -> int:
    """Bytes of this process that were in memory at the most while some work ran.

    The kernel's own record, put back to the present before the work. Unlike
    `ru_maxrss` it does not begin with what the parent process held.

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
