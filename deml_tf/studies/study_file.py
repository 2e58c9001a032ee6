"""A study's study.json: the records of its runs, and what they show together."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deml_tf.runs.atomic import write_atomically
from deml_tf.runs.file_lock import locked_beside
from deml_tf.runs.json_text import json_text
from deml_tf.studies.intervals import Estimate
from deml_tf.studies.plan import PlannedRun, Variant
from deml_tf.studies.records import (
    PEAK,
    Record,
    explained,
    read_record,
    read_records,
)
from deml_tf.studies.summary import Row, facts, summarise


class StudyFile:
    """The file that keeps a study's records.

    Args:
        path: The file. Records of other variants and seeds stay in it.
        variants: Variants of the study.
        seeds: Seeds of the study.
        common: Flags of all variants.

    Attributes:
        records: All records, by variant and seed.

    Raises:
        DataError: The file is not what a study writes.
    """

    def __init__(
        self,
        path: Path,
        variants: Sequence[Variant],
        seeds: Sequence[int],
        common: Sequence[str],
    ):
        """Read the file, if it is there."""
        self.path = path
        self.variants, self.seeds, self.common = variants, seeds, common
        self.records, self._own = read_records(path), {}

    def read(self, run: PlannedRun, peak: float | None) -> Record:
        """Read the record of a finished run from its folder.

        Args:
            run: The run.
            peak: Its largest resident memory in MiB; None if it was not trained now, to
                keep that of its record.
        """
        kept = self.records.get((run.variant.name, run.seed))
        if peak is None and kept and kept.flags == run.variant.flags:
            peak = kept.numbers.get(PEAK)
        return read_record(run, peak)

    def keep(self, *records: Record) -> None:
        """Write records to the file, in place of those of the same runs.

        What other processes have written meanwhile, perhaps for other seeds, stays.
        """
        self._own |= {record.key: record for record in records}
        with locked_beside(self.path):
            self.records |= read_records(self.path) | self._own
            found = sorted(self.records.values(), key=lambda record: record.key)
            content = {
                "common": self.common,
                "summary": facts(self.rows()),
                "runs": [record._asdict() for record in found],
            }
            write_atomically(self.path, _one_a_line(content).encode())

    def rows(self) -> list[Row]:
        """Return what the records of the study's runs show, by variant."""
        return summarise(self.variants, self.seeds, self.records.values())


def read_means(path: Path) -> dict[str, dict[str, Estimate]]:
    """Read a study's results for the variants that have been trained.

    Records of other flags or seeds than those of its last call do not count.

    Args:
        path: Its study.json.

    Returns:
        An estimate by variant and name of the score.

    Raises:
        DataError: The file is not what a study writes.
    """
    with explained(path):
        rows = json.loads(path.read_bytes())["summary"]
        return {
            row["variant"]: {n: Estimate(**mean) for n, mean in row["means"].items()}
            for row in rows
            if row["means"]
        }


def _one_a_line(lists: Mapping[str, Sequence[Any]]) -> str:
    """Write lists as JSON, one item on each line, for people and for git."""
    parts = []
    for name, items in lists.items():
        lines = ",\n".join(json_text(item) for item in items)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"
