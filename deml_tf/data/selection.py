"""The images of a run: read, split into seen and unseen classes, counted."""

import dataclasses

from deml_tf.data.catalog import load_examples
from deml_tf.data.plumage.generator import write_plumage
from deml_tf.data.sets.published import differences
from deml_tf.data.splits import check_batches, large_classes, protocol, zero_shot_split
from deml_tf.errors import DataError


def read_split(data, seed):
    """Reads a data set and prints what is seen and what is not.

    Of the benchmarks, counts that are not the published ones are warned of.

    Args:
        data: The `DataConfig`.
        seed: Of the choice of validation classes.

    Returns:
        The `Split`.

    Raises:
        UsageError: There is no such data set.
        DataError: It is not what it should be, or cannot be split.
    """
    if data.dataset == "plumage":
        plumage = write_plumage(
            data.data_dir,
            species=data.plumage_species,
            images=data.plumage_images,
        )
        examples = load_examples("list", plumage / "annotations.csv")
    else:
        examples = load_examples(data.dataset, data.data_dir)
    try:
        split = zero_shot_split(examples, data.validation_classes, seed)
    except DataError as error:
        name = "data_dir" if data.data_dir else "dataset"
        raise DataError(f"--{name}={getattr(data, name)}: {error}") from error
    counts = protocol(split)
    for role in ("train", "validation", "test", "gallery"):
        if counts.get(f"{role}_classes"):
            print(
                f"{role}: {counts[f'{role}_classes']} classes, "
                f"{counts[f'{role}_images']} images"
            )
    for difference in differences(data.dataset, split):
        print(f"WARNING: {difference}")
    return split


def fill_batches(split, classes_per_batch, images_per_class):
    """Leaves training classes out that are too small for a batch, and says so.

    Args:
        split: The `Split`.
        classes_per_batch: P, classes in a batch.
        images_per_class: K, images of each of them.

    Returns:
        The `Split` whose training classes have K images or more.

    Raises:
        UsageError: Fewer than P classes are left.
    """
    check_batches(split.train, classes_per_batch, images_per_class)
    kept = large_classes(split.train, images_per_class)
    if len(kept) == len(split.train):
        return split
    classes = len({e.label for e in split.train}) - len({e.label for e in kept})
    print(
        f"left out of training: {classes} classes with fewer than --images_per_class="
        f"{images_per_class} images, {len(split.train) - len(kept)} images"
    )
    return dataclasses.replace(split, train=kept)
