"""The folder that .. means."""

import os
from pathlib import Path


def resolve_parents(path: str | os.PathLike[str]) -> str:
    """Write a path without a .. that follows a folder, which may be a link.

    After a link, .. is the folder above where it leads. So does the system read a path;
    shortening its text names another folder.

    Args:
        path: A path, perhaps of nothing that exists.

    Returns:
        A path of the same file. The same text if it has .. at most at its beginning.
    """
    parts = Path(path).parts
    last = max((n for n, part in enumerate(parts) if part == os.pardir), default=-1)
    if last < 0 or set(parts[: last + 1]) == {os.pardir} or "\0" in os.fspath(path):
        return os.fspath(path)
    return os.path.join(os.path.realpath(Path(*parts[: last + 1])), *parts[last + 1 :])
