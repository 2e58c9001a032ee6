"""The split of a run, as it was when the run began.

The meaning of the data flags changes with the data: a few more class folders move the
border between the classes to train on and to test on. So a run keeps its split, which
all later commands on the run use.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from deml_tf.config import DataConfig
from deml_tf.data.example import Box, Example
from deml_tf.data.parent_folders import resolve_parents
from deml_tf.data.splits import ROLES, Split
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.atomic import write_atomically


def write_record(path: Path, split: Split, data: DataConfig) -> None:
    """Record a split: the place of the data, and class and role of each image.

    Args:
        path: The JSON file.
        split: The examples by role.
        data: Names the data set and its place.
    """
    place = _absolute(data.data_dir)
    classes = {role: sorted({e.label for e in getattr(split, role)}) for role in ROLES}
    images = {}
    for role, labels in classes.items():
        numbers = {label: number for number, label in enumerate(labels)}
        images[role] = [
            [numbers[e.label], _below(place, e.path), *([_floats(e.box)] * bool(e.box))]
            for e in getattr(split, role)
        ]
    record = {
        "dataset": data.dataset,
        "data_dir": place,
        "digest": split_digest(split),
        "test_digest": split_digest(tested(split)),
        "classes": classes,
        "images": images,
    }
    # All of it is ASCII, since a file's name need not be UTF-8.
    write_atomically(path, json.dumps(record).encode())


def read_record(path: Path, data: DataConfig) -> Split | None:
    """Return the split that a run recorded.

    Args:
        path: The JSON file.
        data: Says where the data set is now if it is no longer where it was.

    Returns:
        The split, its images with absolute paths; None if there is no record, as in
        runs of versions up to 0.2.

    Raises:
        UsageError: The data set is at neither place.
        DataError: The record is spoilt.
    """
    if not path.exists():
        return None
    record = read_facts(path)
    try:
        place = place_of(record["data_dir"], data)
        split = Split(**{role: _examples(record, role, place) for role in ROLES})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise _spoilt(path, error) from error
    if split_digest(split) != record["digest"]:
        raise _spoilt(path, "its digest is of another split")
    return split


def read_facts(path: Path) -> dict[str, Any]:
    """Return a record as it is written.

    Args:
        path: The JSON file.

    Raises:
        DataError: It is missing or not such a record.
    """
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _spoilt(path, error) from error
    if not isinstance(record, dict) or not {"digest", "test_digest"} <= record.keys():
        raise _spoilt(path, "it is no record of a split")
    return record


def tested(split: Split) -> Split:
    """Return only the part of a split that is scored at the end of a run.

    Args:
        split: The examples by role.
    """
    return Split((), (), split.test, split.gallery)


def split_digest(split: Split) -> str:
    """Return a digest that is equal for equal splits, wherever the images are.

    Args:
        split: The examples by role.

    Returns:
        SHA-256, in hexadecimal digits, of role, class, relative path and box of each
        image, in their order.
    """
    found = [(role, e) for role in ROLES for e in getattr(split, role)]
    paths = [os.path.abspath(e.path) for _, e in found]
    top = os.path.commonpath(paths) if paths else ""
    digest = hashlib.sha256()
    for path, (role, e) in zip(paths, found, strict=True):
        facts = [role, e.label, os.path.relpath(path, top), _floats(e.box)]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def place_of(recorded: str | None, data: DataConfig) -> str:
    """Find the folder that the recorded paths are relative to.

    Args:
        recorded: Where the data set was, according to the record.
        data: Names its place now.

    Returns:
        The first of the two places that exists; empty if neither is given.

    Raises:
        UsageError: Neither exists.
    """
    given = _absolute(data.data_dir)
    places = [place for place in (recorded, given) if place]
    for place in places:
        if os.path.exists(place):
            return place
    if places:
        raise UsageError(
            f"data_dir={data.data_dir} is no longer at {places[0]}, where it was when "
            "the run was begun: put the data set back there."
        )
    return ""


def _examples(record: Any, role: str, place: str) -> tuple[Example, ...]:
    labels = record["classes"][role]
    folder = _folder(place)
    return tuple(
        Example(
            os.path.join(folder, path),
            labels[number],
            role,
            tuple(box[0]) if box else None,
        )
        for number, path, *box in record["images"][role]
    )


def _floats(box: Box | None) -> list[float]:
    return [float(side) for side in box or ()]


def _below(place: str | None, path: str) -> str:
    """Return a path relative to a place if it is below it, otherwise absolute."""
    path, top = os.path.abspath(path), f"{_folder(place or '')}{os.sep}"
    return path.removeprefix(top) if place else path


def _folder(place: str) -> str:
    """Return the folder of a list, or the folder itself."""
    return os.path.dirname(place) if os.path.isfile(place) else place.rstrip(os.sep)


def _absolute(data_dir: str | None) -> str | None:
    if not data_dir:
        return None
    return os.path.abspath(resolve_parents(os.path.expanduser(data_dir)))


def _spoilt(path: Path, reason: object) -> DataError:
    return DataError(
        f"{path}, which says what the run was begun with, is spoilt ({reason}): put it "
        "back from a copy, or train again with another run_dir=FOLDER."
    )
