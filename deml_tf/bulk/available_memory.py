"""How much memory this process may still take."""

from pathlib import Path

MACHINE = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # of a container, in cgroup v2


def available_memory() -> int | None:
    """Return the bytes that are free, or would be if caches of files were dropped.

    It is what the machine has available or, if that is less, what the limit of the
    container leaves.

    Returns:
        Bytes; None where the system does not tell.
    """
    known = [b for b in (_of_machine(), _of_group()) if b is not None]
    return min(known, default=None)


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
