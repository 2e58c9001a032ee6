"""What is published of each benchmark: its counts, and the ranks K of its Recall@K."""

from typing import NamedTuple

from deml_tf.data.splits import Split, protocol

RANKS = (1, 2, 4, 8)


class Published(NamedTuple):
    """A benchmark's protocol.

    Attributes:
        counts: classes and images of each role, before any are held out to choose by.
        ranks: of Recall@K.
    """

    counts: dict[str, tuple[int, int]]
    ranks: tuple[int, ...] = RANKS


_CUB200_2011 = Published({"train": (100, 5_864), "test": (100, 5_924)})
_CARS196 = Published({"train": (98, 8_054), "test": (98, 8_131)})
_SOP = Published(
    {"train": (11_318, 59_551), "test": (11_316, 60_502)}, (1, 10, 100, 1000)
)
_IN_SHOP = Published(
    {"train": (3_997, 25_882), "test": (3_985, 14_218), "gallery": (3_985, 12_612)},
    (1, 10, 20, 30),
)
PUBLISHED = {
    "cub200_2011": _CUB200_2011,
    "cars196": _CARS196,
    "sop": _SOP,
    "in_shop": _IN_SHOP,
    "tfds:caltech_birds2011": _CUB200_2011,
    "tfds:cars196": _CARS196,
    "tfds:stanford_online_products": _SOP,
}


def ranks_of(dataset: str | None) -> tuple[int, ...]:
    """The ranks at which a data set's Recall@K is usually told.

    Args:
        dataset: as `--dataset` names it.

    Returns:
        1, 2, 4, 8 for every set but Stanford Online Products (1, 10, 100, 1000; Song
        et al., CVPR 2016) and In-Shop (1, 10, 20, 30; Liu et al., CVPR 2016).
    """
    found = published(dataset)
    return found.ranks if found else RANKS


def published(dataset: str | None) -> Published | None:
    """The protocol of a benchmark; None for other data sets.

    Args:
        dataset: as `--dataset` names it; a version or configuration of a
            tensorflow-datasets set plays no part.
    """
    name = str(dataset)
    if name.startswith("tfds:"):
        name = "tfds:" + name.removeprefix("tfds:").partition(":")[0].partition("/")[0]
    return PUBLISHED.get(name)


def differences(dataset: str | None, split: Split) -> list[str]:
    """Compares a split's counts with those published.

    Args:
        dataset: as `--dataset` names it.
        split: its split; validation counts as train, which it is held out of.

    Returns:
        A sentence for each role whose classes or images are not as many as published.
    """
    found, given = protocol(split), published(dataset)
    told = []
    for role, counts in given.counts.items() if given else ():
        roles = (role, "validation") if role == "train" else (role,)
        here = tuple(
            sum(found.get(f"{name}_{what}", 0) for name in roles)
            for what in ("classes", "images")
        )
        if here != counts:
            told.append(
                f"--dataset={dataset} has {_counted(here)} to {_VERBS[role]}, and "
                f"{_counted(counts)} are published"
            )
    return told


_VERBS = {"train": "train on", "test": "test on", "gallery": "search in"}


def _counted(counts: tuple[int, ...]) -> str:
    classes, images = counts
    return f"{classes:,} classes with {images:,} images"
