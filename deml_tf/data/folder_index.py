"""Which files there are, asked folder by folder: asking for each costs far more."""

import os


class FolderIndex:
    """Names of the files of every folder asked about, each folder read once."""

    def __init__(self):
        self._names: dict[str, frozenset[str]] = {}

    def holds(self, path: str) -> bool:
        """Says whether there is such a file.

        Args:
            path: normalised; a folder, or a file in a folder that cannot be read, is
                no file.
        """
        folder, name = os.path.split(path)
        if folder not in self._names:
            self._names[folder] = _files(folder)
        return name in self._names[folder]


def _files(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()
