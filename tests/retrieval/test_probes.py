import numpy as np
import pytest

from deml_tf.errors import UsageError
from deml_tf.retrieval.probes import probe_attributes

COLOURS, SIZES = ("red", "green", "blue"), ("small", "large")
ATTRIBUTES = {
    f"class {n:02d}": {
        "colour": COLOURS[n % 3],
        "size": SIZES[n // 3 % 2],
        "legs": "two",
    }
    for n in range(36)
}
LABELS = np.repeat([*ATTRIBUTES], 5)


def directions(name, values):
    """Each image's attribute as a direction of length one."""
    return np.eye(3)[[values.index(ATTRIBUTES[label][name]) for label in LABELS]]


def parts():
    """(n, 2, 2, 5): the colour is in part (0, 1), the size in (1, 0)."""
    random = np.random.default_rng(0)
    found = random.normal(0, 0.2, (len(LABELS), 2, 2, 5))
    own = dict(zip(ATTRIBUTES, random.normal(0, 0.3, (36, 2, 2, 5)), strict=True))
    found += [own[label] for label in LABELS]  # what tells one class from another
    found[:, 0, 1, :3] += 2 * directions("colour", COLOURS)
    found[:, 1, 0, :3] += 2 * directions("size", SIZES)
    return found


def test_an_attribute_is_read_where_it_is_and_nowhere_else():
    given = parts()
    found = probe_attributes(
        given, given.reshape(len(given), -1), LABELS, ATTRIBUTES, frozen=given[:, 0, 0]
    )
    assert found.keys() == {"colour", "size"}  # all have two legs
    for name, place, chance in (("colour", (0, 1), 1 / 3), ("size", (1, 0), 1 / 2)):
        row = found[name]
        assert row["chance"] == pytest.approx(chance)
        assert row["whole"] > 0.95
        for i, j in np.ndindex(2, 2):
            if (i, j) == place:
                assert row["parts"][i][j] > 0.95
            else:
                assert abs(row["parts"][i][j] - chance) < 0.15
        assert abs(row["frozen"] - chance) < 0.15


def test_what_tells_classes_apart_is_no_attribute():
    """Each class has a direction of its own: its attribute cannot be read from it."""
    own = np.eye(36)[np.searchsorted([*ATTRIBUTES], LABELS)]
    found = probe_attributes(own[:, None, None], own, LABELS, ATTRIBUTES)
    for row in found.values():
        assert abs(row["whole"] - row["chance"]) < 0.15
        assert row["frozen"] is None


def test_accuracy_is_balanced():
    """A probe that knows nothing is no better for one value being frequent."""
    attributes = {
        c: {"rare": "yes" if n < 4 else "no"} for n, c in enumerate(ATTRIBUTES)
    }
    random = np.random.default_rng(1).normal(size=(len(LABELS), 1, 1, 4))
    row = probe_attributes(random, random[:, 0, 0], LABELS, attributes)["rare"]
    assert row["whole"] < 0.65


def test_scale_of_the_features_does_not_matter():
    given = parts()[:, :1, 1:]
    results = [
        probe_attributes(k * given, k * given[:, 0, 0], LABELS, ATTRIBUTES)
        for k in (1, 1000)
    ]
    assert results[0]["size"]["parts"] == results[1]["size"]["parts"]


def test_too_few_classes():
    few = LABELS[:35]
    with pytest.raises(UsageError, match="=true needs 8 classes.*there are 7"):
        probe_attributes(parts()[:35], parts()[:35, 0, 0], few, ATTRIBUTES)
