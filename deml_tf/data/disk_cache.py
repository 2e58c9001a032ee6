"""A cache on disk, shared by runs and processes, of what is slow to compute again."""

import os
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import platformdirs

from deml_tf.cli.printing import say


def cache_folder() -> Path | None:
    """Return the folder for everything that can be computed again.

    Returns:
        That of the environment variable DEML_TF_CACHE, or else one in the user's cache
        folder (XDG_CACHE_HOME); None if the user has no home folder.
    """
    named = os.environ.get("DEML_TF_CACHE")
    if named:
        return Path(os.path.expanduser(named))
    try:
        folder = platformdirs.user_cache_path("deml_tf")
    except RuntimeError:  # older versions of platformdirs leave ~ in the path
        return None
    return folder if folder.is_absolute() else None


def file_state(status: os.stat_result) -> str:
    """Return what changes with a file's content: its size and its times.

    A copy that takes over the modification time of the file that it replaces still has
    another time of its status change.
    """
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


class DiskCache:
    """Values by key, each valid for one state of what it was computed from.

    A context manager. Several processes may share the file. If it cannot be read or
    written, one line on standard error says so, and from then on the cache returns and
    keeps nothing.

    Args:
        name: Name of the file without its suffix.
    """

    def __init__(self, name: str):
        folder = cache_folder()
        self.path = folder and folder / f"{name}.sqlite3"
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open the file, or make it."""
        if not self.path:
            self._give_up("there is no home folder")
            return self
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=20)
            with self._connection:
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS entries "
                    "(key BLOB PRIMARY KEY, state TEXT, value BLOB)"
                )
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def get(self, key: bytes, state: str) -> bytes | None:
        """Return the value of a key; None if it is unknown or of another state.

        Args:
            key: What the value was stored under.
            state: The present state.
        """
        if not self._connection:
            return None
        try:
            found = self._connection.execute(
                "SELECT value FROM entries WHERE key = ? AND state = ?", (key, state)
            ).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return found[0] if found else None

    def put(self, entries: Iterable[tuple[bytes, str, bytes]]) -> None:
        """Store values, all of them or none.

        Args:
            entries: Key, state and value of each.
        """
        if not self._connection:
            return
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", entries
                )
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception | str) -> None:
        mend = f"remove {self.path}, or name" if self.path else "name"
        say(
            f"warning: the cache cannot be used ({error}), so nothing is remembered; "
            f"{mend} another folder in DEML_TF_CACHE.",
            sys.stderr,
        )
        self.__exit__()
