"""The standing of a study: the runs that are done, and those still to be trained."""

import itertools
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from deml_tf.errors import UsageError
from deml_tf.runs.settings import changed_flags, read_settings
from deml_tf.studies.extra_scores import EXTRA_SCORES, is_scored
from deml_tf.studies.plan import PlannedRun
from deml_tf.studies.records import Record
from deml_tf.studies.study_file import StudyFile
from deml_tf.studies.train_runs import stages


class Outdated(NamedTuple):
    """A run that was trained with other flags than those of today.

    Attributes:
        run: The planned run.
        changes: What has changed, such as "steps: 8 -> 9".
        is_in_the_way: Whether the old run's folder is still there.
    """

    run: PlannedRun
    changes: str
    is_in_the_way: bool


class Standing(NamedTuple):
    """The standing of a study.

    Attributes:
        records: Records of the planned runs that are done.
        left: The planned runs that are not done, in order.
        outdated: Those that are not done because of their flags.
    """

    records: list[Record]
    left: list[PlannedRun]
    outdated: list[Outdated]


def what_stands(
    runs: Iterable[PlannedRun], file: StudyFile, also: Collection[str] = ()
) -> Standing:
    """Find which runs are done, from the kept records and the runs' folders.

    A record counts for its run even if the folder is gone. If the folder has more, such
    as scores that were computed by hand, it is read anew.

    Args:
        runs: All planned runs.
        file: The kept records.
        also: Names of the extra scores that belong to a finished run.

    Raises:
        DataError: A file of a run is spoilt.
    """
    standing = Standing([], [], [])
    for run in runs:
        wanted, trained = run.variant.flags, _flags_of(run)
        kept = file.records.get((run.variant.name, run.seed))
        may_be_scored = trained == wanted and run.folder.finished
        is_own = kept and kept.flags == wanted
        if kept and is_own and not (may_be_scored and _lacks(kept, run, also)):
            standing.records.append(kept)
        elif trained == wanted and not stages(run, also):
            standing.records.append(file.read(run, None))
        else:
            standing.left.append(run)
            is_in_the_way = trained not in (None, wanted)
            before = trained if is_in_the_way else kept and kept.flags
            if before not in (None, wanted):
                changes = _changes(before, wanted)
                standing.outdated.append(Outdated(run, changes, is_in_the_way))
    return standing


def require_own_flags(run: PlannedRun) -> None:
    """Refuse a run that another process has meanwhile trained with other flags.

    Args:
        run: A finished run.

    Raises:
        UsageError: Its flags are not the planned ones.
    """
    trained = _flags_of(run)
    if trained not in (None, run.variant.flags):
        raise UsageError(
            f"{run.name} was trained meanwhile by another process, with other flags "
            f"({_changes(trained or {}, run.variant.flags)}): give each study a "
            "study_dir of its own."
        )


def set_aside(run: PlannedRun) -> Path:
    """Rename the folder of a run, so that a new one can be made.

    Args:
        run: The run.

    Returns:
        Where the old folder is now.

    Raises:
        UsageError: Another process still trains in it.
    """
    folder = run.folder.path
    names = (f"{folder.name}.old{number}" for number in itertools.count(1))
    places = (folder.with_name(name) for name in names)
    try:
        with run.folder.locked():
            return folder.rename(next(place for place in places if not place.exists()))
    except UsageError as error:
        raise UsageError(
            f"{run.name} is to be trained with other flags, and {folder} is in use by "
            "another process: end that, or wait for it."
        ) from error


def _lacks(kept: Record, run: PlannedRun, also: Collection[str]) -> bool:
    """Tell whether a record lacks what the folder of its run has, or could have."""
    there = {name for name in EXTRA_SCORES if is_scored(run.folder, name)}
    tells_less = kept.test_digest is None or not there <= kept.extra
    # Not if something that only the record has would be lost.
    may_be_read = tells_less and kept.extra <= there
    return may_be_read or not kept.extra.issuperset(also)


def _flags_of(run: PlannedRun) -> dict[str, str] | None:
    """Read the flags of the run in the folder; None if there is no run."""
    if not run.folder.flags_path.exists():
        return None
    try:
        return changed_flags(read_settings(run.folder.flag_lines()))
    except UsageError:
        return {}  # from a version that knows other flags


def _changes(before: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    changes = [
        f"{name}: {before.get(name, '(default)')} -> {wanted.get(name, '(default)')}"
        for name in sorted(before.keys() | wanted.keys())
        if before.get(name) != wanted.get(name)
    ]
    return "; ".join(changes)
