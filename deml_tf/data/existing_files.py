"""Which files exist, listed folder by folder: asking for each file costs far more."""

import os


class ExistingFiles:
    """The files on disk; each folder is read once."""

    def __init__(self):
        self._names: dict[str, frozenset[str] | str] = {}

    def problem(self, path: str) -> str:
        """Say why there is no such file.

        Args:
            path: A normalised path.

        Returns:
            The reason in words that name the file; empty if there is one, or something
            else of that name: the scan tells whether it is an image.
        """
        if "\0" in path:
            return f"the path {path!r} holds a null byte, which no file's name can"
        folder, name = os.path.split(path)
        if folder not in self._names:
            self._names[folder] = _names(folder)
        names = self._names[folder]
        is_listed = isinstance(names, frozenset) and name in names
        # A disk that ignores case finds a file by other names than the listed one.
        if is_listed or os.path.lexists(path):
            return ""
        if isinstance(names, str):
            return f"{folder} cannot be read ({names})"
        return f"there is no file {path}"


def _names(folder: str) -> frozenset[str] | str:
    """Return the names of what is in a folder, or why it cannot be looked into."""
    try:
        return frozenset(os.listdir(folder or os.curdir))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except (OSError, ValueError) as error:  # ValueError: an impossible name
        return getattr(error, "strerror", None) or str(error)
