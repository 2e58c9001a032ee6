"""Remembers which images were found good or bad, over runs and processes."""

import os
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path

import platformdirs
import tensorflow as tf

# Another decoder, or another rule of `scan`, judges anew.
_RULES = 1


def cache_folder() -> Path:
    """The folder of what can be found out again.

    Returns:
        The environment's DEML_TF_CACHE, or the user's cache folder (XDG_CACHE_HOME).
    """
    folder = os.environ.get("DEML_TF_CACHE") or platformdirs.user_cache_dir("deml_tf")
    return Path(folder)


class ScanCache:
    """Verdicts by path, size and time of a file; a context manager.

    Processes may share it. Where it cannot be read or written, a line on the standard
    error says so and it is empty from then on: what it knows can be found out again.
    """

    def __init__(self):
        self.path = cache_folder() / f"scan-{_RULES}-tf{tf.__version__}.sqlite3"
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> "ScanCache":
        """Opens the file, or makes it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=20)
            with self._connection:
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS images (path BLOB PRIMARY KEY, "
                    "size INTEGER, mtime_ns INTEGER, reason TEXT) WITHOUT ROWID"
                )
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the file."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def get(self, path: str, status: os.stat_result) -> str | None:
        """Looks an image up.

        Args:
            path: as `Example` has it.
            status: of its file, now.

        Returns:
            Why it is bad, "" for a good one, None if it is not known as it is now.
        """
        if not self._connection:
            return None
        try:
            found = self._connection.execute(
                "SELECT reason FROM images WHERE path = ? AND size = ? "
                "AND mtime_ns = ?",
                _key(path, status),
            ).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return found[0] if found else None

    def put(self, verdicts: Iterable[tuple[str, os.stat_result, str]]) -> None:
        """Remembers verdicts.

        Args:
            verdicts: path, status of its file before it was read, and reason.
        """
        if not self._connection:
            return
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)",
                    [(*_key(path, status), why) for path, status, why in verdicts],
                )
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        print(
            f"warning: {self.path} cannot be used ({error}), so images are checked "
            "without it; remove it, or name another folder in DEML_TF_CACHE.",
            file=sys.stderr,
        )
        self.__exit__()


def _key(path: str, status: os.stat_result) -> tuple[bytes, int, int]:
    # As bytes: a file's name need not be UTF-8.
    return os.fsencode(os.path.abspath(path)), status.st_size, status.st_mtime_ns
