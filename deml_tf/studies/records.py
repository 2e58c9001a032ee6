"""The records of a study's runs, which outlive the runs' folders: study.json."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deml_tf.data.split_record import read_facts
from deml_tf.errors import DataError
from deml_tf.runs.settings import MAY_CHANGE
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
        seed: Seed of the run.
        flags: See `changed_flags`.
        numbers: Numbers by name; one in a list has its place in the name, counted from
            1, as in `object_attention/iou/2`.
        curve: Pairs of step and MAP@R on the validation classes.
        test_digest: A digest that is equal for runs that were tested on the same
            images; None in records that were kept without it.
        revision: The commit at which the run was begun; None if it is not known.
    """

    variant: str
    seed: int
    flags: dict[str, str]
    numbers: dict[str, float]
    curve: list[list[float]]
    test_digest: str | None = None
    revision: str | None = None

    @property
    def extra(self) -> set[str]:
        """Names of the extra scores that it has."""
        return {name.partition("/")[0] for name in self.numbers} & {*EXTRA_SCORES}

    @property
    def key(self) -> tuple[str, int]:
        """Variant and seed; of records with the same key, a study keeps the latest."""
        return self.variant, self.seed


def read_record(run: PlannedRun, peak: float | None = None) -> Record:
    """Read what is kept of a finished run from its folder.

    Args:
        run: The run.
        peak: Its largest resident memory in MiB; None, the default, if not known.

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
    own, split = run.variant, folder.split_path
    tested = read_facts(split)["test_digest"] if split.exists() else None
    about = folder.environment_path
    found = folder.read_json(about.name) if about.exists() else {}
    revision = found.get("git_revision")
    return Record(own.name, run.seed, own.flags, numbers, curve, tested, revision)


def read_records(path: Path) -> dict[tuple[str, int], Record]:
    """Read the records of a study.

    Args:
        path: Its study.json.

    Returns:
        Records by variant and seed; none if there is no file.

    Raises:
        DataError: The file is not what a study writes.
    """
    if not path.exists():
        return {}
    with explained(path):
        runs = json.loads(path.read_bytes())["runs"]
        fields = [{n: run[n] for n in Record._fields if n in run} for run in runs]
        records = [Record(**own) for own in fields]
        for record in records:
            _check(record)
            for name in MAY_CHANGE & record.flags.keys():  # written by earlier versions
                del record.flags[name]
    return {record.key: record for record in records}


def unlike_tests(records: Iterable[Record]) -> list[str]:
    """Return a sentence for the records of each set of test images but the first.

    Args:
        records: Records of one study. Those that do not say what they were tested on
            are left out.
    """
    groups: dict[str, list[str]] = {}
    for record in records:
        if record.test_digest:
            name = f"{record.variant}/seed_{record.seed}"
            groups.setdefault(record.test_digest, []).append(name)
    first, *others = groups.values() or [[]]
    return [
        f"the scores of {', '.join(names)} are of other test images than those of "
        f"{first[0]}, and cannot be compared with them: train all anew with another "
        "study_dir and output"
        for names in others
    ]


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in one sentence that a file is not what a study writes.

    Args:
        path: The study.json that the block reads.

    Raises:
        DataError: It is not such a file.
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
        TypeError: A part of it has another type.
    """
    numbers = [*record.numbers.values(), *(n for pair in record.curve for n in pair)]
    texts = [record.variant, *record.flags.values()]
    texts += [record.test_digest or "", record.revision or ""]
    for value, kinds in [
        (record.seed, int),
        *[(text, str) for text in texts],
        *[(number, int | float) for number in numbers],
    ]:
        if not isinstance(value, kinds):
            raise TypeError(f"{value!r} stands where a {kinds} belongs")
