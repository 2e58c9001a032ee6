"""Mount points: files and folders that no other can replace."""

import contextlib
import os
import re
from pathlib import Path

from deml_tf.errors import UsageError


def refuse_mount_point(folder: Path) -> None:
    """Refuse, before long work, a folder that nothing can replace after it.

    Args:
        folder: The folder; it need not exist.

    Raises:
        UsageError: It is a mount point.
    """
    if is_mount_point(folder):
        raise UsageError(
            f"{folder} is a mount point, which cannot be replaced: name a folder in it."
        )


def is_mount_point(path: str | os.PathLike[str]) -> bool:
    """Tell whether something is mounted at a path, even from the same disk.

    Args:
        path: A file or folder; it need not exist.
    """
    path = Path(os.path.realpath(path))
    if os.path.ismount(path):
        return True
    with contextlib.suppress(OSError):  # it does not exist, or there is no /proc
        return _mount(path) != _mount(path.parent)
    return False


def _mount(path: Path) -> list[str]:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        told = Path(f"/proc/self/fdinfo/{handle}").read_text()
    finally:
        os.close(handle)
    return re.findall(r"(?m)^mnt_id:.*", told)
