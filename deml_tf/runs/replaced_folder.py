"""A folder that is replaced as a whole: readers find the old one or the new one."""

import contextlib
import ctypes
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from deml_tf.errors import DataError, UsageError
from deml_tf.runs.hidden_folder import hidden_folder
from deml_tf.runs.mount_point import refuse_mount_point
from deml_tf.runs.to_disk import to_disk

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
_ELSEWHERE = "name a new folder, or one on another disk"


@contextlib.contextmanager
def replaced_folder(
    target: Path,
    check: Callable[[Path], object] = lambda target: None,
    mend: str = _ELSEWHERE,
) -> Iterator[Path]:
    """Make a hidden folder that takes the place of another when the block ends.

    A kill leaves the old folder or the new one, both whole. If the block raises, the
    old one stays. A link stays, and what it leads to is replaced.

    Args:
        target: The folder; it need not exist, and its parents are made if missing.
        check: Called with the folder before it is replaced; if it raises a UsageError,
            nothing is replaced. By default nothing is checked.
        mend: What to do if the disk cannot swap two folders.

    Yields:
        An empty folder, for all there is to write.

    Raises:
        UsageError: The folder is a mount point; nothing was changed.
        DataError: The disk cannot swap two folders, and nothing was changed; or the
            folder could not be replaced in the end, for instance because another one
            has taken the name meanwhile, and the new one is beside it.
    """
    target = Path(os.path.realpath(target))
    before = _identity(target)
    refuse_mount_point(target)
    with hidden_folder(target) as temporary:
        if before:  # tried before the long work
            _try_to_swap(temporary, target, mend)
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            to_disk(path)
        with kept_beside(temporary, target):
            check(target)
            now = _identity(target)
            if now not in (before, None):
                raise UsageError("another process has written it meanwhile")
            if now:
                _swap(temporary, target)  # the old one goes with the hidden folder
            else:
                os.rename(temporary, target)
        to_disk(target.parent)


@contextlib.contextmanager
def kept_beside(folder: Path, target: Path, mend: str = "") -> Iterator[None]:
    """Keep what long work has made if the block cannot give it its name.

    Args:
        folder: What was made, in a hidden folder.
        target: What it was to become.
        mend: What to do then, as the end of a sentence; by default nothing.

    Raises:
        DataError: The block raised an OSError or a UsageError; the folder is beside
            the target.
    """
    try:
        yield
    except (OSError, UsageError) as error:
        kept = target.with_name(f"{target.name[:40]}.{secrets.token_hex(4)}")
        os.rename(folder, kept)
        why = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise DataError(
            f"{target} cannot be written ({why}): what was made for it is "
            f"whole, and now called {kept}{mend}."
        ) from error


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what identifies a folder; None if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(folder)
        return found.st_dev, found.st_ino
    return None


def _try_to_swap(folder: Path, target: Path, mend: str) -> None:
    pair = [folder / "a", folder / "b"]
    for each in pair:
        each.mkdir()
    try:
        _swap(*pair)
    except OSError as error:
        raise DataError(
            f"{target} cannot be replaced, for its disk cannot swap two folders "
            f"({error.strerror}): {mend}."
        ) from error
    for each in pair:
        each.rmdir()


def _swap(first: Path, second: Path) -> None:
    """Swap the names of two folders in one step, which Python's os cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    if rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(second))
