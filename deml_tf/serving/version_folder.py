"""The folder of a version, which appears whole or not at all."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from deml_tf.errors import UsageError
from deml_tf.runs.atomic import check_tensorflow_path
from deml_tf.runs.hidden_folder import hidden_folder
from deml_tf.runs.replaced_folder import kept_beside
from deml_tf.runs.to_disk import to_disk

EXTRA = "assets.extra"
_MEND = (  # renamed by hand, its content would still name another version
    ": give the same command again for the next version, and delete that folder"
)


def next_version(base: str | os.PathLike[str]) -> int:
    """Return the integer after the newest version; 1 if there is none.

    Args:
        base: The model's folder; it need not exist.
    """
    base = Path(base)
    names = [entry.name for entry in base.iterdir()] if base.is_dir() else []
    return max((int(n) for n in names if re.fullmatch(r"\d+", n)), default=0) + 1


def check_version(base: str | os.PathLike[str], version: int) -> Path:
    """Return the folder that a version will have.

    Args:
        base: The model's folder.
        version: A whole number from 1.

    Raises:
        UsageError: The version exists or is not valid, or nothing can be written.
    """
    base = Path(base)
    if version < 1:
        raise UsageError(f"version={version}: give a whole number from 1 up.")
    check_tensorflow_path("output_dir", base)
    target = base / str(version)
    if os.path.lexists(target):
        raise UsageError(
            f"version={version}: {target} exists, and what a server may be running "
            f"is never replaced; give another, such as {next_version(base)}."
        )
    standing = next(f for f in (base, *base.absolute().parents) if os.path.lexists(f))
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise UsageError(
            f"output_dir={base} cannot be written, because of {standing}: name "
            "another folder."
        )
    return target


@contextlib.contextmanager
def published(target: Path) -> Iterator[Path]:
    """Make a hidden folder that gets its name when the block ends without an error.

    A server, which looks for folders named by integers, sees all of it or nothing. What
    a killed export has left beside it is removed.

    Args:
        target: The version's folder; its parents are made if they are missing.

    Yields:
        An empty folder, for all there is to write.

    Raises:
        DataError: Another process took the version meanwhile, or the folder cannot get
            its name; what was made is beside it.
    """
    with hidden_folder(target) as temporary:
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            to_disk(path)
        with kept_beside(temporary, target, _MEND):
            os.rename(temporary, target)
        to_disk(target.parent)
