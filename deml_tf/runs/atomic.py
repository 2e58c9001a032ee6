"""Files that a kill leaves whole: the old one or the new one."""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from deml_tf.errors import UsageError


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one, both whole.

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
    except BaseException as error:
        if isinstance(error, OSError) and error.errno:
            error.filename = os.fspath(path)  # a full disk names no file
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check_output(argument: str, path: str | os.PathLike[str]) -> None:
    """Refuse, before long work, a file that cannot be written after it.

    Args:
        argument: Name of the argument that asks for the file.
        path: The file; folders on its way may be missing.

    Raises:
        UsageError: The path is a folder or leads through a file, or nothing may be
            written there.
    """
    path = Path(path)
    standing = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir():
        wrong = "is a folder"
    elif not standing.is_dir():
        wrong = f"leads through the file {standing}"
    elif not os.access(standing, os.W_OK):
        wrong = f"cannot be written into {standing}"
    else:
        return
    raise UsageError(f"{argument}={path} {wrong}: name a file elsewhere.")


def save_atomically(
    path: str | os.PathLike[str], save: Callable[[Path], object]
) -> None:
    """Write atomically what a library saves to a file of its own.

    Args:
        path: The file; its folder is made.
        save: Called with a temporary file of the same name.
    """
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / Path(path).name
        save(temporary)
        write_atomically(path, temporary.read_bytes())
