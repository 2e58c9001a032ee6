"""The images of a run: read, split into classes to train and to test on, counted."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

from deml_tf.cli.printing import say, so_many
from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.object_crops import refuse_without_boxes
from deml_tf.data.sets import find_set
from deml_tf.data.split_record import read_record
from deml_tf.data.splits import (
    ROLES,
    SIDES,
    Split,
    check_batches,
    large_classes,
    protocol,
    zero_shot_split,
)
from deml_tf.errors import DataError

_PURPOSE = {"train": "train on", "test": "test on", "gallery": "search in"}


def read_examples(data: DataConfig) -> list[Example]:
    """List the images of a data set without reading them.

    Args:
        data: Names the data set and its place; see `deml_tf.data.sets.SETS`.

    Returns:
        The examples, in an order that depends on names (folders), rows (lists) or
        records (tensorflow-datasets) alone.

    Raises:
        UsageError: There is no such data set, or nothing at `data_dir`.
        DataError: What is there is not such a data set.
    """
    return find_set(data.dataset).read(data)


def read_split(data: DataConfig, seed: int, needed: Collection[str] = SIDES) -> Split:
    """Read a data set, split its classes and print how many there are.

    Warns of a benchmark whose counts are not the published ones.

    Args:
        data: Names the data set, its place and the share of validation classes.
        seed: Seed of the choice of validation classes.
        needed: See `zero_shot_split`.

    Returns:
        The examples by role.

    Raises:
        UsageError: There is no such data set, or nothing at `data_dir`.
        DataError: What is there is not such a data set, or cannot be split; or an
            image to be cropped has no box.
    """
    examples = read_examples(data)
    try:
        split = zero_shot_split(examples, data.validation_classes, seed, needed)
    except DataError as error:
        name = "data_dir" if data.data_dir else "dataset"
        raise DataError(f"{name}={getattr(data, name)}: {error}") from error
    refuse_without_boxes(split, data)
    _print_counts(split)
    for difference in _unlike_published(data.dataset, split):
        say(f"WARNING: {difference}")
    return split


def run_split(record: Path, data: DataConfig, seed: int) -> Split:
    """Return the split that a run was begun with, and print how many images it has.

    Args:
        record: The run's record of the split.
        data: Names the data set and its place.
        seed: Seed of the choice of validation classes.

    Returns:
        The examples by role; for a run of versions up to 0.2, which has no record,
        those of the data set as it is now.

    Raises:
        UsageError: The data set is not where it was.
        DataError: The record is spoilt; or there is none, and the data set cannot be
            read or split.
    """
    split = read_record(record, data)
    if split is None:
        return read_split(data, seed)
    say(f"The split is the one that the run was begun with ({record}).")
    _print_counts(split)
    return split


def _print_counts(split: Split) -> None:
    counts = protocol(split)
    for role in ROLES:
        if counts.get(f"{role}_classes"):
            say(
                f"{role}: {counts[f'{role}_classes']} classes, "
                f"{counts[f'{role}_images']} images"
            )


def fill_batches(split: Split, classes_per_batch: int, images_per_class: int) -> Split:
    """Leave out training classes that are too small for a batch, and print how many.

    Args:
        split: The examples by role.
        classes_per_batch: P, classes in a batch.
        images_per_class: K, images of each of them.

    Returns:
        The split with only those training classes that have K images or more.

    Raises:
        UsageError: Fewer than P classes are left.
    """
    check_batches(split.train, classes_per_batch, images_per_class)
    kept = large_classes(split.train, images_per_class)
    if len(kept) == len(split.train):
        return split
    classes = len({e.label for e in split.train}) - len({e.label for e in kept})
    say(
        f"left out of training: {so_many(classes, 'class', 'classes')} with fewer than "
        f"{images_per_class} images (images_per_class), "
        f"{so_many(len(split.train) - len(kept), 'image', 'images')}"
    )
    return dataclasses.replace(split, train=kept)


def _unlike_published(dataset: str | None, split: Split) -> list[str]:
    """Return a sentence for each role whose counts are not as published."""
    found, sentences = protocol(split), []
    for role, published in find_set(dataset).counts.items():
        # Validation classes are held out of those published as training classes.
        roles = (role, "validation") if role == "train" else (role,)
        counted = tuple(
            sum(found.get(f"{name}_{what}", 0) for name in roles)
            for what in ("classes", "images")
        )
        if counted != published:
            sentences.append(
                f"{dataset} has {_counted(counted)} to {_PURPOSE[role]}, and "
                f"{_counted(published)} are published"
            )
    return sentences


def _counted(counts: tuple[int, ...]) -> str:
    classes, images = counts
    return f"{classes:,} classes with {images:,} images"
