"""What is on disk also after the power fails."""

import os
from pathlib import Path


def to_disk(path: Path) -> None:
    """Wait until a file's content is on disk, or the names in a folder are.

    Args:
        path: The file or folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
