"""What is on disk even after a power failure."""

import errno
import os
from pathlib import Path


def to_disk(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on disk.

    Some shared and network disks cannot wait for a folder; there its names may be lost
    if the power fails.

    Args:
        path: The file or folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(handle)
