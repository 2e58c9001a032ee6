"""The files of a training run: where they are, how they are read and written."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deml_tf.cli.printing import decodable
from deml_tf.errors import DataError
from deml_tf.runs.atomic import write_atomically
from deml_tf.runs.flagfile import parsed_lines
from deml_tf.runs.json_text import json_text

FLAGS = "flags.cfg"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
RESULTS = "results.json"
SPLIT = "split.json"
REPLICAS = "replicas.json"  # of a run that forms pairs within each replica
LOG = "log.txt"


class RunFiles:
    """The files of one training run.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Keep the folder's path."""
        self.path = Path(path)

    # Where things are.

    @property
    def flags_path(self) -> Path:
        """The absl flagfile with the flags as they were used."""
        return self.path / FLAGS

    @property
    def environment_path(self) -> Path:
        """Software and machine at the run's first start."""
        return self.path / ENVIRONMENT

    @property
    def split_path(self) -> Path:
        """The images that the run was begun with, see `deml_tf.data.split_record`."""
        return self.path / SPLIT

    @property
    def metrics_path(self) -> Path:
        """JSON records, one on each line."""
        return self.path / METRICS

    @property
    def results_path(self) -> Path:
        """The scores, written last."""
        return self.path / RESULTS

    @property
    def report_path(self) -> Path:
        """The report, an HTML page."""
        return self.path / "report.html"

    @property
    def log_path(self) -> Path:
        """What the training printed, if a study started it."""
        return self.path / LOG

    @property
    def embedder_path(self) -> Path:
        """The trained embedder."""
        return self.path / "embedder.keras"

    @property
    def checkpoints_path(self) -> Path:
        """Folder of the checkpoints that a killed run resumes from."""
        return self.path / "checkpoints"

    @property
    def tensorboard_path(self) -> Path:
        """Folder of TensorBoard logs."""
        return self.path / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether the run has written all of its results.

        Raises:
            DataError: They exist but cannot be read.
        """
        return self._is_object(self.results_path)

    # What is in them.

    def flag_lines(self) -> list[str]:
        """Return the lines of the flagfile; none if there is no file.

        Raises:
            DataError: The file is not text, apart from the names of files in it.
        """
        if not self.flags_path.exists():
            return []
        text = self.flags_path.read_bytes().decode(errors="surrogateescape")
        lines = text.splitlines()
        if any(line != decodable(line) and line[:2] != "--" for line in lines):
            raise DataError(
                f"{self.flags_path} is no UTF-8 text: name the folder of a whole run, "
                "or a new one."
            )
        return lines

    def flags(self) -> dict[str, str]:
        """Return the flags as used, each value as text; none if there is no file.

        Raises:
            DataError: The file is not text.
        """
        return parsed_lines(self.flag_lines())

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the folder.

        Raises:
            DataError: It is missing or not JSON.
        """
        try:
            return json.loads((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path / name} cannot be read ({error}): name the folder of a "
                "run that has written it."
            ) from error

    def _is_object(self, path: Path) -> bool:
        """Tell whether a file holds a JSON object that is complete."""
        try:
            return isinstance(json.loads(path.read_bytes()), dict)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return False
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}): see to it that it can be, "
                "or name another run."
            ) from error

    def write_json(self, name: str, data: object) -> None:
        """Write JSON atomically: numpy values as numbers and lists, NaN as null."""
        self.write_text(name, json_text(data, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write UTF-8 text atomically, with names of files as they are on disk."""
        self.write_bytes(name, text.encode(errors="surrogateescape"))

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
            DataError: A line before the last is not JSON.
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
            self.rewrite_metrics(kept)

    def rewrite_metrics(self, records: list[dict[str, Any]]) -> None:
        """Write metrics.jsonl anew, atomically."""
        self.write_text(METRICS, "".join(f"{json_text(r)}\n" for r in records))
