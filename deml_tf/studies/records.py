"""The records of a study's runs, which outlive the folders of the runs: study.json."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deml_tf.errors import DataError
from deml_tf.studies.extra_scores import EXTRA_SCORES, SEEN, extra_scores
from deml_tf.studies.plan import PlannedRun

PEAK = "peak_memory_mib"
SEEN_RECALL = f"{SEEN}/recall_at_1"
# Parts of results.json that tell how a run came to its scores.
_DIAGNOSTICS = ("object_attention", "learners", "embedding")
_VALIDATION = "validation_map_at_r"


class Record(NamedTuple):
    """What a study keeps of a finished run.

    Attributes:
        variant: Name of the variant.
        seed: Of the run.
        flags: See `changed_flags`.
        numbers: By name; one of a list has its place in the name, counted from 1, as
            in `object_attention/iou/2`.
        curve: Pairs of step and MAP@R on the validation classes.
    """

    variant: str
    seed: int
    flags: dict[str, str]
    numbers: dict[str, float]
    curve: list[list[float]]

    @property
    def extra(self) -> set[str]:
        """Names of the extra scores that it has."""
        return {name.partition("/")[0] for name in self.numbers} & {*EXTRA_SCORES}

    @property
    def key(self) -> tuple[str, int]:
        """Of all records with the same, a study keeps the latest."""
        return self.variant, self.seed


def read_record(run: PlannedRun, peak: float | None = None) -> Record:
    """Read what is kept of a finished run from its folder.

    Args:
        run: The run.
        peak: Its largest resident memory in MiB, where that is known.

    Raises:
        DataError: A file of the folder is spoilt.
    """
    folder = run.folder
    results, metrics = folder.read_json("results.json"), folder.metrics()
    model, train = results.get("model") or {}, results.get("train") or {}
    scored = [r for r in metrics if r.get(_VALIDATION) is not None]
    best = max(scored, key=lambda record: record[_VALIDATION], default={})
    numbers = {
        **_flat(results.get("test")),
        **_flat({k: v for k, v in best.items() if k.startswith("validation_")}),
        **{f"frozen_{k}": v for k, v in _flat(results.get("frozen")).items()},
        **_flat({k: model.get(k) for k in ("parameters", "gmacs")}),
        **_flat({k: train.get(k) for k in ("seconds", "best_step")}),
        **_flat({PEAK: peak}),
        **_flat({name: results.get(name) for name in _DIAGNOSTICS}),
        **_flat(extra_scores(folder)),
    }
    if {SEEN_RECALL, "recall_at_1"} <= numbers.keys():
        numbers["seen_minus_unseen"] = numbers[SEEN_RECALL] - numbers["recall_at_1"]
    curve = [[record["step"], record[_VALIDATION]] for record in scored]
    own = run.variant
    return Record(own.name, run.seed, own.flags, numbers, curve)


def read_records(path: Path) -> dict[tuple[str, int], Record]:
    """Read the records of a study.

    Args:
        path: Its study.json.

    Returns:
        By variant and seed; none where there is no file.

    Raises:
        DataError: The file is not what a study writes.
    """
    if not path.exists():
        return {}
    with explained(path):
        runs = json.loads(path.read_bytes())["runs"]
        records = [Record(*(run[name] for name in Record._fields)) for run in runs]
        for record in records:
            _check(record)
    return {record.key: record for record in records}


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in one sentence that a file is not what a study writes.

    Args:
        path: The study.json that the block reads.

    Raises:
        DataError: It is not.
    """
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} is not what a study writes ({type(error).__name__}: {error}): "
            "delete it, or name another folder with output=DIR."
        ) from error


def _flat(value: Any, name: str = "") -> dict[str, float]:
    """List the numbers of nested mappings and lists by their places."""
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value, start=1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return {name: value}
    else:
        return {}
    found = {}
    for key, inner in pairs:
        found |= _flat(inner, f"{name}/{key}" if name else str(key))
    return found


def _check(record: Record) -> None:
    """Refuse what only looks like a record.

    Raises:
        TypeError: A part of it is of another kind.
    """
    numbers = [*record.numbers.values(), *(n for pair in record.curve for n in pair)]
    texts = [record.variant, *record.flags.values()]
    for value, kinds in [
        (record.seed, int),
        *[(text, str) for text in texts],
        *[(number, int | float) for number in numbers],
    ]:
        if not isinstance(value, kinds):
            raise TypeError(f"{value!r} stands where a {kinds} belongs")
