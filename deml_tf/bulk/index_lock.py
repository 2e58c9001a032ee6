"""One process at a time changes or replaces an index."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from deml_tf.errors import UsageError
from deml_tf.runs.file_lock import is_still_at, try_to_lock


@contextlib.contextmanager
def locked_index(target: Path) -> Iterator[None]:
    """Keep other processes from changing an index until the block ends.

    Readers are not kept out: they find the old index or the new one. A killed process
    releases the lock. A folder that does not exist yet is not locked: whoever finishes
    second gets an error.

    Args:
        target: Folder of the index.

    Raises:
        UsageError: Another process is changing it, or has just done so.
        DataError: Its disk does not support locks.
    """
    if not target.is_dir():
        yield
        return
    handle = os.open(target, os.O_RDONLY)
    try:
        # A folder that was replaced since it was opened is the wrong one.
        if not (try_to_lock(handle, target) and is_still_at(handle, target)):
            raise UsageError(
                f"output={target} is being changed by another process: wait for it to "
                "end, and give the same command again."
            )
        yield
    finally:
        os.close(handle)
