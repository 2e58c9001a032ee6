"""Files that a kill leaves whole: the old one or the new one."""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file so that a kill leaves the old one or the new one, both whole.

    Args:
        path: The file; its folder is made.
        data: All of its content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save_atomically(
    path: str | os.PathLike[str], save: Callable[[Path], object]
) -> None:
    """Writes atomically what a library saves to a file of its own.

    Args:
        path: The file; its folder is made.
        save: Called with a temporary file of the same name.
    """
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / Path(path).name
        save(temporary)
        write_atomically(path, temporary.read_bytes())
