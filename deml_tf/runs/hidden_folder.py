"""Hidden folders to work in; the next process removes those of a killed process."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from deml_tf.runs.file_lock import try_to_lock

_LOCK = ".lock"
_CONTENT = "content"
_LONGEST = 40  # characters of a target's name in that of its hidden folder


@contextlib.contextmanager
def hidden_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder on a target's disk, to be renamed to the target when whole.

    Removes those that killed processes have left for the same target or, if its name is
    a number, for any number. A folder in use is locked.

    Args:
        target: What will be made; its parents are made if they are missing.

    Yields:
        The folder, which is removed after the block unless it was renamed.

    Raises:
        DataError: The disk has no locks.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.suppress(OSError):  # leftovers do no harm
            _sweep(target)
        place, lock = _locked_folder(target)
        try:
            content = place / _CONTENT
            content.mkdir()
            yield content
        finally:
            _remove(place, lock)
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: others' files
            for folder in made:
                folder.rmdir()
        raise


def _locked_folder(target: Path) -> tuple[Path, int]:
    while True:
        # The name may already have the file system's greatest length; this is longer.
        name = f".{target.name[:_LONGEST]}.{secrets.token_hex(4)}.tmp"
        place = target.parent / name
        place.mkdir()
        try:
            lock = _lock(place)
        except BaseException:
            (place / _LOCK).unlink(missing_ok=True)
            place.rmdir()  # unlike rmtree, needs no free descriptor
            raise
        if lock is not None and (place / _LOCK).exists():
            return place, lock
        # Swept by another process before it was locked.


def _lock(place: Path) -> int | None:
    """Lock a folder; None if another process has, or the folder no longer exists."""
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        return None
    try:
        is_ours = try_to_lock(lock, place.parent)
    except BaseException:
        os.close(lock)
        raise
    if is_ours:
        return lock
    os.close(lock)
    return None


def _sweep(target: Path) -> None:
    """Remove hidden folders of processes that have ended."""
    name = r"\d+" if target.name.isdecimal() else re.escape(target.name[:_LONGEST])
    # Versions up to 0.2 drew Plumage in a folder that ends in .part.
    pattern = re.compile(rf"\.{name}\.[0-9a-f]{{8}}\.(tmp|part)")
    for entry in target.parent.iterdir():
        hidden = pattern.fullmatch(entry.name)
        if hidden and entry.is_dir() and not entry.is_symlink():
            with contextlib.suppress(OSError):  # another user's
                lock = _lock(entry)
                if lock is not None:
                    _remove(entry, lock)


def _remove(place: Path, lock: int) -> None:
    shutil.rmtree(place, ignore_errors=True)
    os.close(lock)
    with contextlib.suppress(OSError):  # where open files cannot be removed, as on NFS
        place.rmdir()
