"""Hidden folders to work in; the next process removes those of a killed one."""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".lock"
_CONTENT = "content"


@contextlib.contextmanager
def hidden_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder on the disk of a target, to be renamed to it when whole.

    Removes those that killed processes have left for the same target or, if its name is
    a number, for any number. One in use is locked.

    Args:
        target: What will be made; its parents are made if they are missing.

    Yields:
        The folder, which is removed after the block unless it was renamed.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # what is left there harms nobody
        _sweep(target)
    place, lock = _locked_folder(target)
    try:
        content = place / _CONTENT
        content.mkdir()
        yield content
    except BaseException:
        _remove(place, lock)
        with contextlib.suppress(OSError):  # not empty: somebody else's
            for folder in made:
                folder.rmdir()
        raise
    _remove(place, lock)


def _locked_folder(target: Path) -> tuple[Path, int]:
    while True:
        place = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
        place.mkdir()
        lock = _lock(place)
        if lock is not None and (place / _LOCK).exists():
            return place, lock
        # Swept by another process before it was locked.


def _lock(place: Path) -> int | None:
    """Lock a folder; None where another process has, or there is no folder any more."""
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _sweep(target: Path) -> None:
    """Remove hidden folders of processes that are gone."""
    name = r"\d+" if target.name.isdecimal() else re.escape(target.name)
    # Versions up to 0.2 drew Plumage in one that ends in .part.
    pattern = re.compile(rf"\.{name}\.[0-9a-f]{{8}}\.(tmp|part)")
    for entry in target.parent.iterdir():
        hidden = pattern.fullmatch(entry.name)
        if hidden and entry.is_dir() and not entry.is_symlink():
            lock = _lock(entry)
            if lock is not None:
                _remove(entry, lock)


def _remove(place: Path, lock: int) -> None:
    shutil.rmtree(place, ignore_errors=True)
    os.close(lock)
