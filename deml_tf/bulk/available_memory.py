"""How much memory this process may still take, and whether that is enough."""

from pathlib import Path

from deml_tf.cli.printing import say
from deml_tf.errors import UsageError

MACHINE = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # a container's limits, in cgroup v2

BUFFERS = 150_000_000
"""Bytes needed besides an index: a shard being read, in float32 and in float64."""


def require_memory(kind: str, need: int, smaller: str | None = None) -> None:
    """Print how much memory an index will take, and refuse more than is available.

    Args:
        kind: Kind of the index.
        need: Bytes of the index.
        smaller: A kind that takes less, if there is one.

    Raises:
        UsageError: Less is available.
    """
    need += BUFFERS
    there = available_memory()
    says = f"about {_gigabytes(need)} of memory"
    if there is None:
        say(f"An index of kind {kind}: {says}.")
        return
    say(f"An index of kind {kind}: {says}, of {_gigabytes(there)} available.")
    if need > there:
        mend = f"give kind={smaller}, or use" if smaller else "use"
        raise UsageError(
            f"kind={kind} takes {says}, and {_gigabytes(there)} are available: {mend} "
            "a machine with more."
        )


def available_memory() -> int | None:
    """Return the bytes that are free, or would be if file caches were dropped.

    It is what the machine has available or, if less, what the container's limit leaves.

    Returns:
        Bytes; None if the system does not say.
    """
    known = [b for b in (_of_machine(), _of_group()) if b is not None]
    return min(known, default=None)


def _gigabytes(size: int) -> str:
    # From 100 on, two digits would be written as 2e+02.
    return f"{size / 1e9:{'.2g' if size < 99e9 else ',.0f'}} GB"


def _of_machine() -> int | None:
    try:
        lines = MACHINE.read_text().splitlines()
    except OSError:
        return None
    kib = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kib[0]) * 1024 if kib else None


def _of_group() -> int | None:
    try:
        limit = (GROUP / "memory.max").read_text().strip()
        used = int((GROUP / "memory.current").read_text())
        counted = (GROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    cached = [line.split()[1] for line in counted if line.startswith("inactive_file ")]
    return max(0, int(limit) - used + sum(map(int, cached)))
