"""Which files exist, asked folder by folder: asking for each file costs far more."""

import os


class ExistingFiles:
    """The files on disk, as in `path in ExistingFiles()`; each folder is read once."""

    def __init__(self):
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        """Tell whether a normalised path is a file in a folder that can be read."""
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
