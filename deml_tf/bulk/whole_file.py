"""Writes files that get their names only when they are complete."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from deml_tf.runs.hidden_folder import hidden_folder
from deml_tf.runs.to_disk import to_disk


def write_whole(
    path: Path, write: Callable[[BinaryIO], object], *, may_replace: bool = True
) -> None:
    """Write a file that others see whole or not at all.

    What killed processes left of it is removed.

    Args:
        path: The file; its folder is made if it is missing.
        write: Called with the open file.
        may_replace: Whether an existing file is replaced (default); otherwise it stays.
    """
    try:
        with hidden_folder(path) as folder:
            temporary = folder / "file"
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if may_replace:
                os.replace(temporary, path)
            else:
                _name_new(temporary, path)
    except OSError as error:
        if error.errno:
            error.filename = os.fspath(path)  # which a full disk's error lacks
        raise
    to_disk(path.parent)


def _name_new(temporary: Path, path: Path) -> None:
    """Give a file its name unless another has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.replace(temporary, path)  # a disk without hard links: the last one wins
