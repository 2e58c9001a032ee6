"""Files that a kill leaves whole: the old one or the new one."""

import contextlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deml_tf.cli.printing import decodable
from deml_tf.errors import UsageError
from deml_tf.runs.hidden_folder import hidden_folder
from deml_tf.runs.mount_point import is_mount_point
from deml_tf.runs.to_disk import to_disk


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one, both whole.

    A link stays, and what it leads to is replaced. A device, a pipe, or the file that
    standard output goes to is not replaced: the data is written straight into it.

    Args:
        path: The file; its folder is made if it is missing.
        data: All of its content.
    """
    place = _written_into(path)
    if place is not None:
        if sys.stdout:
            sys.stdout.flush()  # what was printed before comes first
        with open(place, "wb", closefd=place == path) as file:
            file.write(data)
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name may already have the file system's greatest length, and this is longer.
    temporary = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno:
            error.filename = os.fspath(path)  # a full disk names no file
        with contextlib.suppress(OSError):  # missing, or the disk is now read-only
            temporary.unlink()
        raise
    to_disk(path.parent)


def check_output(argument: str, path: str | os.PathLike[str]) -> None:
    """Refuse, before long work, a file that cannot be written after it.

    Args:
        argument: Name of the argument that asks for the file.
        path: The file; parent folders may be missing.

    Raises:
        UsageError: The path is a folder or leads through a file, or nothing may be
            written there.
    """
    wrong = _why_not(path)
    if wrong:
        shown = os.fspath(path)
        raise UsageError(f"{argument}={shown} {wrong}: name a file elsewhere.")


def check_output_folder(argument: str, path: str | os.PathLike[str]) -> None:
    """Refuse, before long work, a folder in which no file can be written after it.

    Args:
        argument: Name of the argument that asks for the folder.
        path: The folder; it and its parents may be missing.

    Raises:
        UsageError: The path is a file or leads through one, or nothing may be written
            there.
    """
    wrong = _why_not(Path(path) / "file")
    if wrong:
        shown = os.fspath(path)
        raise UsageError(f"{argument}={shown} {wrong}: name another folder.")


def check_tensorflow_path(argument: str, folder: str | os.PathLike[str]) -> None:
    """Refuse a folder whose path TensorFlow does not accept, or takes for a pattern.

    TensorFlow uses a checkpoint's path as a pattern when it looks for the checkpoint's
    files, and when it removes them.

    Args:
        argument: Name of the argument that names the folder.
        folder: The folder, as TensorFlow is given it.

    Raises:
        UsageError: Its path is not UTF-8, or holds wildcards.
    """
    shown = os.fspath(folder)
    if shown != decodable(shown):
        raise UsageError(
            f"{argument}={shown} is no UTF-8, and TensorFlow takes no such folder: "
            "rename it, or name another."
        )
    if re.search(r"[*?[\\]", shown):
        raise UsageError(
            f"{argument}={shown} holds *, ?, [ or \\, which TensorFlow takes for a "
            f"pattern: give {argument}=FOLDER without them."
        )


def is_written_into(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is not a regular file, so that nothing can lie beside it.

    Args:
        path: Path of an output, such as /dev/null or /dev/stdout.
    """
    return _written_into(path) is not None


def save_atomically(
    path: str | os.PathLike[str], save: Callable[[Path], object]
) -> None:
    """Write atomically what a library saves to a file of its own.

    Args:
        path: The file; its folder is made if it is missing.
        save: Called with a temporary file of the same name.
    """
    with hidden_folder(Path(path)) as folder:
        temporary = folder / Path(path).name
        save(temporary)
        write_atomically(path, temporary.read_bytes())


def _written_into(path: str | os.PathLike[str]) -> Any:
    """Return what to open instead of replacing the path; None for a regular file."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        for stream in (1, 2):
            with contextlib.suppress(OSError):  # it may be closed
                if os.path.samestat(found, os.fstat(stream)):
                    return stream  # opened anew, it would begin at the file's start
        if not stat.S_ISREG(found.st_mode):
            return path
    return None


def _why_not(path: str | os.PathLike[str]) -> str | None:
    """Say why nothing can be written to a path; None if something can."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except NotADirectoryError:
        mode = stat.S_IFREG  # its folders are looked at below
    except (OSError, ValueError) as error:
        return f"cannot be written ({getattr(error, 'strerror', error)})"
    if stat.S_ISDIR(mode):
        return "is a folder"
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        return "is a disk or a socket"
    if not stat.S_ISREG(mode):
        return None if os.access(path, os.W_OK) else "cannot be written"
    target = Path(os.path.realpath(path))
    if target.parts[:2] == ("/", "proc"):  # where /dev/fd leads
        return "is not open"
    if is_mount_point(path):
        return "is a mount point, which cannot be replaced"
    standing = next(folder for folder in target.parents if folder.exists())
    if not standing.is_dir():
        return f"leads through the file {standing}"
    if not os.access(standing, os.W_OK):
        return f"cannot be written into {standing}"
    longest = os.pathconf(standing, "PC_NAME_MAX")  # bytes
    if any(len(os.fsencode(part)) > longest for part in target.parts):
        return "has too long a name"
    return None
