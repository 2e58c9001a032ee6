"""Locks that a process holds on files and folders until it ends, killed or not."""

import fcntl
from pathlib import Path

from deml_tf.errors import DataError


def try_to_lock(handle: int, folder: Path) -> bool:
    """Lock what is open, and tell whether no other process has.

    Args:
        handle: Of a file or folder.
        folder: To be named where its disk has no locks.

    Raises:
        DataError: It has none.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DataError(
            f"the disk of {folder} has no locks ({error.strerror}): name a folder on "
            "another."
        ) from error
    return True
