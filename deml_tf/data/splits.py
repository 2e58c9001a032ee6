"""Zero-shot splits: which classes are trained on, validated on and tested on."""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from deml_tf.data.example import LISTED_ROLES, Example
from deml_tf.errors import DataError, UsageError

# If queries are searched for in a gallery, both are of the test classes.
_SIDE = {"query": "test", "gallery": "test"}
SIDES = ("train", "validation", "test")  # which share no class
ROLES = (*SIDES, "gallery")  # of a `Split`


@dataclass(frozen=True, slots=True)
class Split:
    """Examples by role. Only test and gallery share classes.

    Attributes:
        train: Examples that the embedder is trained on.
        validation: Classes of the training half that are held out to choose the best
            step; may be empty.
        test: Classes that are scored at the end. Each image is searched for among all
            the others, or in the gallery if there is one.
        gallery: Images in which the test images are searched for, if that is a set of
            its own (In-Shop Clothes); otherwise empty.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    gallery: tuple[Example, ...] = ()


def zero_shot_split(
    examples: Sequence[Example],
    validation_classes: float = 0.0,
    seed: int = 0,
    needed: Collection[str] = SIDES,
) -> Split:
    """Split by class, so that the test classes are never seen in training.

    If the examples have no roles, the first half of the classes by name is trained on
    and the second half is tested on (the protocol of CUB-200-2011 and Cars196); of an
    odd number, the middle class is tested on. Roles of the examples are kept, and a
    validation role replaces `validation_classes`. The roles query and gallery stand
    for test and share their classes.

    Args:
        examples: All examples of the data set.
        validation_classes: Share of the training classes held out for validation, 0 to
            below 1. Above 0, at least two classes are held out.
        seed: Seed of the choice of validation classes, by default 0.
        needed: Those of train, validation and test that must have enough classes;
            validation may have none. The default is what a training needs.

    Returns:
        The split. Within each role the examples keep their order.

    Raises:
        UsageError: The share is not in [0, 1).
        DataError: Only some examples have roles, a class has two roles, a needed role
            has fewer than two classes, or none with two images to find each other, or
            queries and gallery do not fit together.
    """
    if not 0.0 <= validation_classes < 1.0:
        raise UsageError(
            f"validation_classes={validation_classes} is no share of the seen "
            "classes; give a number from 0 to below 1"
        )
    role = _listed_roles(examples) or _halves(examples)
    if validation_classes and "validation" not in role.values():
        seen = [label for label in role if role[label] == "train"]
        count = max(2, math.floor(validation_classes * len(seen) + 0.5))
        held_out = sorted(seen, key=lambda label: _lot(label, seed))[:count]
        role |= dict.fromkeys(held_out, "validation")
    sides: dict[str, list[Example]] = {name: [] for name in SIDES}
    gallery = []
    for example in examples:
        searched = example.split == "gallery"
        (gallery if searched else sides[role[example.label]]).append(example)
    split = Split(**{name: tuple(side) for name, side in sides.items()})
    split = replace(split, gallery=tuple(gallery))
    _check_classes(split, validation_classes, needed)
    return split


def protocol(split: Split) -> dict[str, int]:
    """Count the classes and images of each role.

    Args:
        split: Examples by role.

    Returns:
        `train_classes`, `train_images`, and the same for `validation` and `test`, and
        for `gallery` if there is one.
    """
    counts = {}
    for name in ROLES if split.gallery else SIDES:
        examples = getattr(split, name)
        counts[f"{name}_classes"] = len({example.label for example in examples})
        counts[f"{name}_images"] = len(examples)
    return counts


def roles_without_pairs(split: Split) -> list[str]:
    """Name the roles that cannot be scored: no image has another of its class.

    Args:
        split: Examples by role.

    Returns:
        Those of validation and test that have images, but nothing to find; test images
        are searched for in the gallery if there is one.
    """
    roles = []
    for name in ("validation", "test"):
        counts = Counter(example.label for example in getattr(split, name))
        to_find = {label for label in counts if counts[label] > 1}
        if name == "test" and split.gallery:
            to_find = counts.keys() & {example.label for example in split.gallery}
        if counts and not to_find:
            roles.append(name)
    return roles


def large_classes(
    examples: Sequence[Example], images_per_class: int
) -> tuple[Example, ...]:
    """Leave out the classes that are too small for a batch.

    In-Shop and other sets have a few classes of one image. Such a class has no pair of
    images, so there is little to learn from it.

    Args:
        examples: Examples of the training role.
        images_per_class: K, images of each class in a batch.

    Returns:
        The examples of the classes with K images or more, in their order.
    """
    counts = Counter(example.label for example in examples)
    return tuple(e for e in examples if counts[e.label] >= images_per_class)


def check_batches(
    examples: Iterable[Example], classes_per_batch: int, images_per_class: int
) -> None:
    """Refuse batches that the examples cannot fill, or that hold no pairs.

    Classes with fewer than K images do not count: `large_classes` leaves them out.

    Args:
        examples: Examples of the training role.
        classes_per_batch: P, classes in a batch.
        images_per_class: K, images of each of them.

    Raises:
        UsageError: P or K is below 2, or fewer than P classes have K images.
    """
    if classes_per_batch < 2 or images_per_class < 2:
        name, value = ("classes_per_batch", classes_per_batch)
        if value >= 2:
            name, value = ("images_per_class", images_per_class)
        raise UsageError(
            f"{name}={value} leaves no pairs of the same class and of different "
            "classes in a batch; give 2 or more"
        )
    counts = Counter(example.label for example in examples)
    if len(counts) < classes_per_batch:
        raise UsageError(
            f"classes_per_batch={classes_per_batch} is more than the {len(counts)} "
            f"classes trained on ({_name(sorted(counts))}); give {len(counts)} or less"
        )
    small = sorted(label for label in counts if counts[label] < images_per_class)
    large = len(counts) - len(small)
    if large < classes_per_batch:
        most = sorted(counts.values())[-classes_per_batch]
        mend = "add images to them"
        if most >= 2:
            mend = f"give {most} or less"
        elif large >= 2:
            mend = f"give classes_per_batch={large} or less"
        raise UsageError(
            f"images_per_class={images_per_class} is more than the images of "
            f"{_name(small, counts)} and leaves {large} of the {classes_per_batch} "
            f"classes of a batch; {mend}"
        )


def _listed_roles(examples: Sequence[Example]) -> dict[str, str]:
    without = [example.path for example in examples if example.split is None]
    if len(without) == len(examples):
        return {}
    if without:
        raise DataError(
            f"{without[0]} has no split in the list but other rows have one "
            f"({len(without)} of {len(examples)} rows lack it); fill the split column "
            "or empty it"
        )
    _check_gallery(examples)
    roles: dict[str, set[str]] = {}
    for example in examples:
        role = str(example.split)
        roles.setdefault(example.label, set()).add(_SIDE.get(role, role))
    several = sorted(label for label in roles if len(roles[label]) > 1)
    if several:
        shared = set(several)
        used = {str(e.split) for e in examples if e.label in shared}
        both = " and ".join(name for name in LISTED_ROLES if name in used)
        raise DataError(
            f"the list puts {_name(several)} into {both}; zero-shot roles share no "
            "class, so give each class one split"
        )
    return {label: given.pop() for label, given in sorted(roles.items())}


def _check_gallery(examples: Sequence[Example]) -> None:
    classes: dict[str, set[str]] = {name: set() for name in ("test", *_SIDE)}
    for example in examples:
        if example.split in classes:
            classes[example.split].add(example.label)
    if not (classes["query"] or classes["gallery"]):
        return
    if classes["test"]:
        raise DataError(
            "the list has the split test beside query or gallery; write test for "
            "images that are searched in each other, or else query and gallery alone"
        )
    for name, other in (("query", "gallery"), ("gallery", "query")):
        if not classes[other]:
            raise DataError(
                f"the list has the split {name} and no {other}; add the {other} rows, "
                "or write test for images that are searched in each other"
            )
    if classes["query"].isdisjoint(classes["gallery"]):
        raise DataError(
            f"no class of the queries ({_name(sorted(classes['query']))}) is in the "
            "gallery; give both images of the same classes"
        )


def _halves(examples: Sequence[Example]) -> dict[str, str]:
    labels = sorted({example.label for example in examples})
    half = len(labels) // 2
    return {label: "train" if i < half else "test" for i, label in enumerate(labels)}


def _lot(label: str, seed: int) -> bytes:
    """Draw a class's lot, whatever the other classes and the versions of libraries."""
    text = f"{seed}/{label}".encode(errors="surrogateescape")
    return hashlib.sha256(text).digest()


def _check_classes(
    split: Split, validation_classes: float, needed: Collection[str]
) -> None:
    counts = protocol(split)
    for name in needed:
        found = counts[f"{name}_classes"]
        if found >= 2 or (name == "validation" and not found):
            continue
        held_out = f" after validation_classes={validation_classes}"
        raise DataError(
            f"{found} class{'es' * (not found)} left to {name} on"
            f"{held_out * (name == 'train' and bool(validation_classes))}; retrieval "
            "needs two classes or more a side, so add classes or change the split"
        )
    for name in (role for role in roles_without_pairs(split) if role in needed):
        raise DataError(
            f"each of the {counts[f'{name}_classes']} {name} classes has one image "
            "alone, so no image has another to find; add images to them or change the "
            "split"
        )


def _name(labels: Sequence[str], counts: Counter[str] | None = None) -> str:
    shown = [f"{label} ({counts[label]})" if counts else label for label in labels[:3]]
    more = [f"{len(labels) - 3} more classes"] if labels[3:] else []
    return ", ".join(shown + more)
