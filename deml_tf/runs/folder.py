"""A training run is a folder: flags as used, environment, metrics, results, models."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from deml_tf.errors import UsageError
from deml_tf.runs.atomic import check_tensorflow_path
from deml_tf.runs.environment import environment
from deml_tf.runs.file_lock import try_to_lock
from deml_tf.runs.files import ENVIRONMENT, FLAGS, LOG, REPLICAS, SPLIT, RunFiles
from deml_tf.runs.flagfile import flag_text
from deml_tf.runs.settings import MAY_CHANGE, meaning

LOCK = ".lock"
BAD_IMAGES = "bad_images.csv"  # stays if bad images kept a run from starting


class RunFolder(RunFiles):
    """One training run's folder.

    The constructor touches nothing: use it to read a run. `RunFolder.open` makes or
    reopens the folder for training and holds its lock.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Take the path of a run's folder, see the class."""
        super().__init__(path)
        self._lock: int | None = None
        self._fresh = False  # whether `open` wrote the flags
        self._made: list[Path] = []  # folders that `open` made, innermost first

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], flags: Mapping[str, object]
    ) -> "RunFolder":
        """Make a run's folder, or reopen the one made with flags of the same meaning.

        Takes the folder's lock until the process ends (killed or not) or `close`, drops
        the temporary files and the torn metrics line of a killed run, and writes the
        flags and the environment if they are missing.

        Args:
            path: The folder; it and its parents are made if they are missing.
            flags: Values by name, as used. None is left out, a list or tuple is written
                as an absl list flag, everything else by `str`.

        Returns:
            The open folder; without a lock if it is finished and cannot be written.

        Raises:
            UsageError: The folder cannot be made, is not a run's, was made with other
                flags, or is in use by another process; or a value does not fit on a
                line of a flagfile.
            DataError: A file of the folder cannot be read, or its disk has no locks.
        """
        run = cls(path)
        check_tensorflow_path("run_dir", run.path)
        wanted = {
            name: flag_text(name, value)
            for name, value in sorted(flags.items())
            if value is not None
        }
        try:
            folders = (run.path, *run.path.parents)
            run._made = [folder for folder in folders if not folder.exists()]
            run.path.mkdir(parents=True, exist_ok=True)
            run._refuse_foreign()
            run._take_lock()
        except OSError as error:
            if run.finished:
                run._refuse_other_flags(wanted)
                return run
            raise UsageError(
                f"Run folder {run.path} cannot be made or written "
                f"({error.strerror}): name another with run_dir=FOLDER."
            ) from error
        try:
            run._tidy(wanted)
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Release the lock before the process ends."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of an existing folder, so that no training runs in it.

        Raises:
            UsageError: It is in use by another process.
        """
        self._take_lock()
        try:
            yield
        finally:
            self.close()

    @contextlib.contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Undo what `open` made if the block raises, so that no half run is left.

        For what comes before the first step: a folder with mistaken flags would refuse
        the corrected ones. A run that is older than this process stays, and so does
        what others wrote into the folder.
        """
        try:
            yield
        except BaseException:
            if self._fresh:
                for name in (FLAGS, ENVIRONMENT, REPLICAS, SPLIT, LOCK):
                    (self.path / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty: others' files
                    for folder in self._made:
                        folder.rmdir()
            self.close()
            raise

    def _tidy(self, wanted: dict[str, str]) -> None:
        """Clean up after a kill, and write what is missing."""
        for leftover in self.path.rglob(".*.tmp"):
            if not leftover.is_dir():
                leftover.unlink(missing_ok=True)
        if self.flags_path.exists():
            self._refuse_other_flags(wanted)
            before = self.flags()
            if any(before.get(name) != wanted.get(name) for name in MAY_CHANGE):
                self._write_flags(wanted)
        else:
            self._fresh = True
            self._write_flags(wanted)
        if not self._is_object(self.environment_path):
            self.write_json(ENVIRONMENT, environment())
        if self.metrics_path.exists():
            self.rewrite_metrics(self.metrics())

    def _write_flags(self, wanted: dict[str, str]) -> None:
        lines = [f"--{name}={value}\n" for name, value in wanted.items()]
        self.write_text(FLAGS, "".join(lines))

    def _refuse_foreign(self) -> None:
        """Refuse a folder that is not a run's; an early kill leaves .lock and .tmp."""
        if self.flags_path.exists():
            return
        for entry in sorted(self.path.iterdir()):
            if entry.name not in (LOCK, LOG, BAD_IMAGES) and not entry.match(
                f".{FLAGS}.*.tmp"
            ):
                raise UsageError(
                    f"Folder {self.path} is not empty and is no run ({FLAGS} is "
                    f"missing, {entry.name} is there): name another with "
                    "run_dir=FOLDER."
                )

    def _take_lock(self) -> None:
        # A bare descriptor: a file object would lose the lock in garbage collection.
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not try_to_lock(lock, self.path):
                raise UsageError(
                    f"Run folder {self.path} is in use by another process: wait for it "
                    "to end, or name another with run_dir=FOLDER."
                )
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _refuse_other_flags(self, wanted: dict[str, str]) -> None:
        # Older versions wrote ~ as it was given.
        old = {n: os.path.expanduser(value) for n, value in self.flags().items()}
        if old == wanted:
            return
        before = [f"--{name}={value}" for name, value in old.items()]
        lines = [f"--{name}={value}" for name, value in wanted.items()]
        with contextlib.suppress(UsageError):  # not settings: compared as they are
            old, wanted = meaning(before), meaning(lines)
        changes = [
            f"{name}: {old.get(name, '(unset)')} -> {wanted.get(name, '(unset)')}"
            for name in sorted((old.keys() | wanted.keys()) - MAY_CHANGE)
            if old.get(name) != wanted.get(name)
        ]
        if changes:
            raise UsageError(
                f"Run folder {self.path} was made with other flags "
                f"({'; '.join(changes)}): name another with run_dir=FOLDER, or use "
                "the old flags."
            )
