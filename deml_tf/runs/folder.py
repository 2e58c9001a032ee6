"""A training run is a folder: flags as used, environment, metrics, results, models."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deml_tf.errors import DataError, UsageError
from deml_tf.runs.atomic import write_atomically
from deml_tf.runs.environment import environment
from deml_tf.runs.flagfile import flag_text, parsed_lines
from deml_tf.runs.json_text import json_text

FLAGS = "flags.cfg"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
RESULTS = "results.json"
LOCK = ".lock"
BAD_IMAGES = "bad_images.csv"  # stays where bad images kept a run from its start


class RunFolder:
    """One training run's folder.

    The constructor touches nothing: use it to read a run. `RunFolder.open` makes or
    reopens the folder for training and holds its lock.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Name a run's folder, see the class."""
        self.path = Path(path)
        self._lock: int | None = None
        self._fresh = False  # whether `open` wrote the flags
        self._made: list[Path] = []  # folders that `open` made, innermost first

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], flags: Mapping[str, object]
    ) -> "RunFolder":
        """Make a run's folder, or reopen the one made with the same flags.

        Takes the folder's lock until the process ends (killed or not) or `close`,
        drops the temporary files and the torn metrics line of a killed run, and writes
        the flags and the environment where they are missing.

        Args:
            path: The folder; its parents are made.
            flags: Value by name, as used. None is left out, a list or tuple is written
                as an absl list flag, everything else by `str`.

        Returns:
            The open folder.

        Raises:
            UsageError: The folder cannot be made, is something else than a run, was
                made with other flags, or is in use by another process; or a value does
                not fit on a line of a flagfile.
        """
        run = cls(path)
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
            raise UsageError(
                f"Run folder {run.path} cannot be made or written "
                f"({error.strerror}): name another with run_dir=FOLDER."
            ) from error
        try:
            for leftover in run.path.rglob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            if run.flags_path.exists():
                run._refuse_other_flags(wanted)
            else:
                run._fresh = True
                lines = [f"--{name}={value}\n" for name, value in wanted.items()]
                run.write_text(FLAGS, "".join(lines))
            if not run.environment_path.exists():
                run.write_json(ENVIRONMENT, environment())
            if run.metrics_path.exists():
                run._rewrite_metrics(run.metrics())
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Give the lock back before the process ends."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Undo what `open` made if the block raises, so that no half run is left.

        For what comes before the first step: a folder with the flags of a mistake
        would refuse the mended ones. A run that is older than this process stays, and
        so does what others wrote into the folder.
        """
        try:
            yield
        except BaseException:
            if self._fresh:
                for name in (FLAGS, ENVIRONMENT, LOCK):
                    (self.path / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty: somebody else's
                    for folder in self._made:
                        folder.rmdir()
            self.close()
            raise

    # Where things are.

    @property
    def flags_path(self) -> Path:
        """The absl flagfile with the flags as used."""
        return self.path / FLAGS

    @property
    def environment_path(self) -> Path:
        """Software and machine at the run's first start."""
        return self.path / ENVIRONMENT

    @property
    def metrics_path(self) -> Path:
        """One JSON record a line."""
        return self.path / METRICS

    @property
    def results_path(self) -> Path:
        """The scores, written last."""
        return self.path / RESULTS

    @property
    def report_path(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def embedder_path(self) -> Path:
        """The trained embedder."""
        return self.path / "embedder.keras"

    @property
    def checkpoints_path(self) -> Path:
        """Folder of what a killed run goes on from."""
        return self.path / "checkpoints"

    @property
    def tensorboard_path(self) -> Path:
        """Folder of TensorBoard logs."""
        return self.path / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether the run wrote its results."""
        return self.results_path.exists()

    # What is in them.

    def flag_lines(self) -> list[str]:
        """Return the lines of the flagfile; none where there is no file.

        Raises:
            DataError: The file is no text.
        """
        if not self.flags_path.exists():
            return []
        try:
            return self.flags_path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.flags_path} is no UTF-8 text: name the folder of a whole run, "
                "or a new one."
            ) from error

    def flags(self) -> dict[str, str]:
        """Return the flags as used, each value as text; none where there is no file.

        Raises:
            DataError: The file is no text.
        """
        return parsed_lines(self.flag_lines())

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the folder.

        Raises:
            DataError: It is missing or no JSON.
        """
        try:
            return json.loads((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path / name} cannot be read ({error}): name the folder of a "
                "run that has written it."
            ) from error

    def write_json(self, name: str, data: object) -> None:
        """Write JSON atomically; numpy values as numbers and lists, NaN as null."""
        self.write_text(name, json_text(data, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write UTF-8 text atomically."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file of the folder atomically, see `write_atomically`."""
        write_atomically(self.path / name, data)

    def append_metrics(self, record: Mapping[str, object]) -> None:
        """Add one record to metrics.jsonl; NaN and infinities become null."""
        with self.metrics_path.open("ab") as file:
            file.write(f"{json_text(record)}\n".encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl, without a last line torn by a kill.

        Raises:
            DataError: A line before the last is no JSON.
        """
        if not self.metrics_path.exists():
            return []
        lines = self.metrics_path.read_bytes().splitlines()
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(dict(json.loads(line)))
            except (TypeError, ValueError) as error:
                if number < len(lines):
                    raise DataError(
                        f"{self.metrics_path}, line {number}, is no JSON record: "
                        "delete that line."
                    ) from error
        return records

    def truncate_metrics(self, step: int) -> None:
        """Drop, atomically, the records after a step: a resumed run repeats them."""
        if self.metrics_path.exists():
            kept = [r for r in self.metrics() if r.get("step", step) <= step]
            self._rewrite_metrics(kept)

    def _rewrite_metrics(self, records: list[dict[str, Any]]) -> None:
        self.write_text(METRICS, "".join(f"{json_text(r)}\n" for r in records))

    def _refuse_foreign(self) -> None:
        """Refuse a folder of something else; an early kill leaves .lock and .tmp."""
        if self.flags_path.exists():
            return
        for entry in sorted(self.path.iterdir()):
            if entry.name not in (LOCK, BAD_IMAGES) and not entry.match(
                f".{FLAGS}.*.tmp"
            ):
                raise UsageError(
                    f"Folder {self.path} is not empty and is no run ({FLAGS} is "
                    f"missing, {entry.name} is there): name another with "
                    "run_dir=FOLDER."
                )

    def _take_lock(self) -> None:
        # A bare descriptor: a file object would let go when garbage is collected.
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise
            raise UsageError(
                f"Run folder {self.path} is in use by another process: wait for it to "
                "end, or name another with run_dir=FOLDER."
            ) from None
        self._lock = lock

    def _refuse_other_flags(self, wanted: dict[str, str]) -> None:
        old = self.flags()
        changes = [
            f"{name}: {old.get(name, '(unset)')} -> {wanted.get(name, '(unset)')}"
            for name in sorted(old.keys() | wanted.keys())
            if old.get(name) != wanted.get(name)
        ]
        if changes:
            raise UsageError(
                f"Run folder {self.path} was made with other flags "
                f"({'; '.join(changes)}): name another with run_dir=FOLDER, or use "
                "the old flags."
            )
