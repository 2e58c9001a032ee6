"""The species of Plumage: their attributes, chosen so that no two are too alike."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deml_tf.errors import UsageError

PALETTE: dict[str, tuple[int, int, int]] = {
    "black": (36, 34, 42),
    "white": (244, 240, 230),
    "scarlet": (212, 36, 40),
    "rusty": (160, 86, 36),
    "yellow": (248, 206, 40),
    "green": (70, 150, 62),
    "blue": (40, 104, 214),
    "violet": (138, 62, 170),
}
_COLOURS = tuple(PALETTE)

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "crown": _COLOURS,
    "back": _COLOURS,
    "breast": _COLOURS,
    "wing": _COLOURS,
    "wing_bars": ("none", "one", "two"),
    "breast_pattern": ("plain", "streaked", "spotted", "barred"),
    "eye_stripe": ("none", "black", "white"),
    "eye_ring": ("none", "white"),
    "crest": ("none", "crested"),
    "bill_length": ("short", "medium", "long"),
    "bill_colour": ("black", "yellow", "scarlet"),
    "tail_length": ("short", "medium", "long"),
}
MIN_DISTANCE = 2
MAX_SPECIES = 999  # the folder's number has three digits

_KINDS = {  # (bill length, tail length) -> the kind of bird it would pass for
    ("short", "short"): "Finch",
    ("short", "medium"): "Bunting",
    ("short", "long"): "Whydah",
    ("medium", "short"): "Wren",
    ("medium", "medium"): "Warbler",
    ("medium", "long"): "Wagtail",
    ("long", "short"): "Kingfisher",
    ("long", "medium"): "Sunbird",
    ("long", "long"): "Bee_eater",
}


@dataclass(frozen=True, slots=True)
class Species:
    """One kind of bird.

    Attributes:
        number: Position in the sorted order of the folders, from 1.
        name: Descriptive name, words joined by underscores.
        code: Value of each attribute, in the order of `ATTRIBUTES`.
    """

    number: int
    name: str
    code: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name of its folder, as in `017.Scarlet_crowned_Blue_Wren`."""
        return f"{self.number:03d}.{self.name}"

    @property
    def attributes(self) -> dict[str, str]:
        """The value by attribute, in the order of `ATTRIBUTES`."""
        return dict(zip(ATTRIBUTES, self.code, strict=True))


def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Return the number of attributes in which two codes differ."""
    return sum(p != q for p, q in zip(a, b, strict=True))


def choose_species(count: int = 200, seed: int = 0) -> list[Species]:
    """Choose species that differ from each other in at least `MIN_DISTANCE` attributes.

    Combinations of attributes are tried in a seeded random order. One is taken if it
    keeps its distance from all taken before, and if all of its marks can be seen. The
    order has no families of similar species, so both halves of the sorted folders have
    the same distribution.

    Args:
        count: Number of species, 1 to 999.
        seed: Seed of the order. The first species do not depend on `count`.

    Returns:
        The species, in the order of their folders.

    Raises:
        UsageError: `count` is out of range.
    """
    if not 1 <= count <= MAX_SPECIES:
        raise UsageError(f"species={count} is out of range: choose 1 to {MAX_SPECIES}.")
    rng = np.random.default_rng([seed, 0xB12D])
    values = tuple(ATTRIBUTES.values())
    species: list[Species] = []
    names: set[str] = set()
    while len(species) < count:
        picks = rng.integers(0, [len(v) for v in values])
        code = tuple(v[k] for v, k in zip(values, picks, strict=True))
        if not _can_be_seen(code) or any(
            distance(code, other.code) < MIN_DISTANCE for other in species
        ):
            continue
        name = next(n for n in _names(code) if n not in names)
        names.add(name)
        species.append(Species(len(species) + 1, name, code))
    return species


def _can_be_seen(code: tuple[str, ...]) -> bool:
    """Tell whether every mark of the head stands out, and not all is one colour."""
    bird = dict(zip(ATTRIBUTES, code, strict=True))
    head = {bird["crown"], bird["breast"]}
    if head == {bird["eye_stripe"]} or (
        head == {"white"} and bird["eye_ring"] != "none"
    ):
        return False
    return len({bird[part] for part in ("crown", "back", "breast", "wing")}) > 1


def _names(code: tuple[str, ...]) -> Iterator[str]:
    """Yield names for a code, the plainest first."""
    bird = {
        key: value.capitalize() for key, value in zip(ATTRIBUTES, code, strict=True)
    }
    attributes = dict(zip(ATTRIBUTES, code, strict=True))
    kind = _KINDS[attributes["bill_length"], attributes["tail_length"]]
    end = f"{bird['back']}_{kind}"
    parts = [
        f"{bird[part]}_{suffix}"
        for part, suffix in (
            ("crown", "crowned"),
            ("breast", "breasted"),
            ("wing", "winged"),
        )
        if bird[part] != bird["back"]
    ]
    marks = [
        word
        for word, present in (
            (bird["breast_pattern"], attributes["breast_pattern"] != "plain"),
            ("Crested", attributes["crest"] != "none"),
            ("Ring_eyed", attributes["eye_ring"] != "none"),
            (f"{bird['bill_colour']}_billed", True),
        )
        if present
    ]
    yield from (f"{part}_{end}" for part in parts)
    yield from (f"{m}_{part}_{end}" for m in marks for part in parts)
    longest = "_".join((*marks, *parts, end))
    yield longest
    yield from (f"{longest}_{k}" for k in itertools.count(2))
