"""One process at a time changes or replaces an index."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from deml_tf.errors import UsageError


@contextlib.contextmanager
def locked_index(target: Path) -> Iterator[None]:
    """Keep other processes from changing an index until the block ends.

    Readers are not kept out: they find the old index or the new one. A killed process
    lets go. A folder that is not there yet is not locked.

    Args:
        target: Folder of the index.

    Raises:
        UsageError: Another process is changing it, or has just done so.
    """
    if not target.is_dir():
        yield
        return
    handle = os.open(target, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that was replaced since it was opened is the wrong one.
            is_free = os.path.samestat(os.fstat(handle), os.stat(target))
        except BlockingIOError:
            is_free = False
        if not is_free:
            raise UsageError(
                f"output={target} is being changed by another process: wait for it to "
                "end, and give the same command again."
            )
        yield
    finally:
        os.close(handle)
