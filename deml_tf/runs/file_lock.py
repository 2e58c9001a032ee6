"""Locks that a process holds on files and folders until it ends, killed or not."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from deml_tf.errors import DataError

_PAUSE = 0.05  # seconds between two tries


def try_to_lock(handle: int, folder: Path) -> bool:
    """Lock an open file or folder; return False if another process holds the lock.

    Args:
        handle: File descriptor of a file or folder.
        folder: Folder to name if its disk has no locks.

    Raises:
        DataError: The disk has no locks.
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


@contextlib.contextmanager
def locked_beside(path: Path) -> Iterator[None]:
    """Let no other process, or thread, work on a file until the block ends.

    Waits for its turn. What is locked is a hidden file beside it, since the file itself
    may be replaced; the hidden file is removed after the block.

    Args:
        path: The file, which need not exist; its folder is made if it is missing.

    Raises:
        DataError: Its disk has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.lock")
    while True:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if try_to_lock(handle, path.parent) and is_still_at(handle, place):
                try:
                    yield
                finally:
                    place.unlink(missing_ok=True)
                return
        finally:
            os.close(handle)
        time.sleep(_PAUSE)


@contextlib.contextmanager
def locked_if_possible(path: Path) -> Iterator[None]:
    """Hold the lock of `locked_beside`, or none if its folder allows none.

    Args:
        path: The file or folder, which need not exist.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, DataError):
            held.enter_context(locked_beside(path))
        yield


def is_still_at(handle: int, place: Path) -> bool:
    """Tell whether an open file or folder has been neither removed nor replaced.

    Args:
        handle: Its file descriptor.
        place: Where it was opened.
    """
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(place))
    return False
