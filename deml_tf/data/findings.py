"""Audit a split: count its classes, sizes and copies, as one JSON document."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deml_tf.cli.printing import so_many
from deml_tf.data.duplicates import MOST_PAIRS, Fingerprint, near_pairs, same_bytes
from deml_tf.data.example import Example

HALVES = {
    "train": "seen",
    "validation": "seen",
    "test": "unseen",
    "gallery": "unseen",  # where test images are searched for; it has their classes
}
WHERE = {
    "across_halves": "seen and unseen",
    "two_classes": "two classes of one half",
    "one_class": "one class",
}


def find(
    roles: Mapping[str, Sequence[Example]],
    fingerprints: Sequence[Fingerprint],
    *,
    near_distance: int,
    input_size: int,
    most_pairs: int = MOST_PAIRS,
) -> dict[str, Any]:
    """Audit a split.

    Args:
        roles: Examples of train, validation, test and gallery; some may be missing.
        fingerprints: Fingerprints of all examples, role after role.
        near_distance: Most bits in which near copies differ.
        input_size: Side in pixels; images with a shorter side are counted.
        most_pairs: Number of pairs after which the search for near copies stops.

    Returns:
        The findings, as plain JSON values. `WHERE` names the kinds of copies.
    """
    images = [(role, e) for role, examples in roles.items() for e in examples]
    readable = [f for f in fingerprints if not f.problem]
    copies = _Copies(images, fingerprints)
    exact, near, complete = copies.exact(), *copies.near(near_distance, most_pairs)
    return {
        "near_distance": near_distance,
        "input_size": input_size,
        "roles": {
            role: {
                "classes": len({e.label for e in examples}),
                "images": len(examples),
                **_per_class(examples),
            }
            for role, examples in roles.items()
            if examples
        },
        "shared_classes": _shared_classes(roles),
        "alike_names": _alike_names(roles),
        "sizes": _sizes(readable, input_size),
        "kinds": dict(Counter(f.kind for f in readable).most_common()),
        "rotated": sum(f.rotated for f in readable),
        "unreadable": [
            {**_image(*p), "problem": f.problem}
            for p, f in zip(images, fingerprints, strict=True)
            if f.problem
        ],
        "even": [
            _image(*p)
            for p, f in zip(images, fingerprints, strict=True)
            if not f.problem and not f.look
        ],
        "dark": [
            _image(*p) for p, f in zip(images, fingerprints, strict=True) if f.dark
        ],
        "exact": exact,
        "near": near,
        "near_complete": complete,
    }


def spoilers(findings: Mapping[str, Any]) -> list[str]:
    """Return what makes the test classes known in training, as parts of a sentence.

    Args:
        findings: Findings as `find` returns them.

    Returns:
        Parts of a sentence; none if the split is a zero-shot split.
    """
    shared, alike, exact = (
        len(findings["shared_classes"]),
        sum(group["across_halves"] for group in findings["alike_names"]),
        count(findings["exact"], "across_halves"),
    )
    said = []
    if shared:
        said.append(f"{so_many(shared, 'class', 'classes')} in two roles")
    if alike:
        names = so_many(alike, "class name", "class names")
        said.append(f"{names} in both halves but for case, spaces or Unicode form")
    if exact:
        images = so_many(exact, "image", "images")
        said.append(f"{images} in both halves, byte for byte")
    return said


def count(copies: Sequence[Mapping[str, Any]], where: str, **wanted: object) -> int:
    """Count the groups or pairs of copies of one kind.

    Args:
        copies: The entry `exact` or `near` of the findings.
        where: A key of `WHERE`.
        **wanted: Further values that a finding must have.

    Returns:
        Their number.
    """
    wanted["where"] = where
    return sum(all(copy[k] == v for k, v in wanted.items()) for copy in copies)


class _Copies:
    def __init__(
        self,
        images: Sequence[tuple[str, Example]],
        fingerprints: Sequence[Fingerprint],
    ):
        self._images, self._fingerprints = images, fingerprints

    def exact(self) -> list[dict[str, Any]]:
        groups = same_bytes([f.digest for f in self._fingerprints])
        return _worst_first([self._finding(group) for group in groups])

    def near(self, distance: int, most: int) -> tuple[list[dict[str, Any]], bool]:
        """Find pairs with different bytes but the same look, mirrored or not.

        Of equal files only the first in each half is compared: a thousand copies of one
        placeholder would make half a million pairs.
        """
        keys = [
            (f.digest, HALVES[role])
            for f, (role, _) in zip(self._fingerprints, self._images, strict=True)
        ]
        first = {key: n for n, key in reversed([*enumerate(keys)])}
        alone = [first[key] == n for n, key in enumerate(keys)]
        looks = [
            f.look if one else b""
            for f, one in zip(self._fingerprints, alone, strict=True)
        ]
        mirrored_looks = [f.mirrored_look for f in self._fingerprints]
        upright = near_pairs(looks, distance, most=most)
        mirrored = near_pairs(looks, distance, mirrored_looks=mirrored_looks, most=most)
        found, known = [], set()
        for pairs, mirror in ((upright, False), (mirrored, True)):
            for pair in zip(*(ends[:most].tolist() for ends in pairs[:3]), strict=True):
                ends, bits = pair[:2], pair[2]
                one, other = (self._fingerprints[n].digest for n in ends)
                if one != other and ends not in known:
                    known.add(ends)
                    finding = self._finding(ends)
                    found.append({**finding, "distance": bits, "mirrored": mirror})
        found.sort(key=lambda finding: finding["distance"])
        return _worst_first(found), upright.complete and mirrored.complete

    def _finding(self, group: Sequence[int]) -> dict[str, Any]:
        members = [self._images[n] for n in group]
        if len({HALVES[role] for role, _ in members}) > 1:
            where = "across_halves"
        else:
            several = len({example.label for _, example in members}) > 1
            where = "two_classes" if several else "one_class"
        return {"where": where, "images": [_image(*member) for member in members]}


def _worst_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    order = list(WHERE)
    return sorted(found, key=lambda finding: order.index(finding["where"]))


def _image(role: str, example: Example) -> dict[str, str]:
    return {"path": example.path, "class": example.label, "role": role}


def _per_class(examples: Sequence[Example]) -> dict[str, Any]:
    images = Counter(example.label for example in examples)
    counts = list(images.values())
    return {
        "smallest_class": min(counts),
        "median_class": float(np.median(counts)),
        "largest_class": max(counts),
        "classes_of_one": sorted(label for label, n in images.items() if n == 1),
    }


def _roles_of_classes(roles: Mapping[str, Sequence[Example]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for role, examples in roles.items():
        for label in {example.label for example in examples}:
            found.setdefault(label, []).append(role)
    return dict(sorted(found.items()))


def _shared_classes(roles: Mapping[str, Sequence[Example]]) -> list[dict[str, Any]]:
    """Find classes in two roles; test and gallery share theirs on purpose."""
    return [
        {"class": label, "roles": given}
        for label, given in _roles_of_classes(roles).items()
        if len({"test" if role == "gallery" else role for role in given}) > 1
    ]


def _alike_names(roles: Mapping[str, Sequence[Example]]) -> list[dict[str, Any]]:
    """Find classes whose names differ only in case, spaces or Unicode form."""
    alike = defaultdict(list)
    for label, given in _roles_of_classes(roles).items():
        folded = unicodedata.normalize("NFKC", label).casefold()
        plain = unicodedata.normalize("NFKC", folded).split()
        alike[" ".join(plain)].append({"class": label, "roles": given})
    groups = [names for names in alike.values() if len(names) > 1]
    halves = [{HALVES[r] for name in names for r in name["roles"]} for names in groups]
    return [
        {"across_halves": len(found) > 1, "names": names}
        for names, found in zip(groups, halves, strict=True)
    ]


def _sizes(readable: Sequence[Fingerprint], input_size: int) -> dict[str, Any]:
    """Return 0, 5, 50, 95 and 100 % quantiles of sides (pixels) and aspect ratio."""
    if not readable:
        return {}
    sides = np.array([(f.width, f.height) for f in readable])  # (n, 2)
    columns = {
        "width": sides[:, 0],
        "height": sides[:, 1],
        "aspect": sides[:, 0] / sides[:, 1],
    }
    return {
        **{
            name: np.quantile(values, (0, 0.05, 0.5, 0.95, 1)).tolist()
            for name, values in columns.items()
        },
        "below_input_size": int((sides.min(axis=1) < input_size).sum()),
    }
