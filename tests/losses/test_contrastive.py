from typing import Any

import numpy as np
import pytest
from loops import check_against, euclidean, labelled, others, shaped, unit

from deml_tf.errors import UsageError
from deml_tf.losses import Contrastive, contrastive


def loop(labels, x, margin=1, positive_margin=0, power=2, average="kind"):
    """The formula, pair by pair."""
    distances = euclidean(unit(x))
    costs = {True: [], False: []}
    for p in range(len(labels)):
        same, other = others(labels, p)
        for q in same:
            costs[True].append(max(0, distances[p, q] - positive_margin) ** power)
        for q in other:
            costs[False].append(max(0, margin - distances[p, q]) ** power)
    counts = {kind: len(c) for kind, c in costs.items()}
    if average == "pairs":
        counts = dict.fromkeys(counts, sum(counts.values()))
    if average == "active":
        counts = {kind: np.count_nonzero(c) for kind, c in costs.items()}
    return sum(sum(c) / max(counts[kind], 1) for kind, c in costs.items())


@labelled
@shaped
@pytest.mark.parametrize("average", ["kind", "pairs", "active"])
def test_values_and_gradients_equal_a_loop(labels, shape, average, central_differences):
    for margin, positive_margin, squared in ((1.0, 0.0, True), (1.3, 0.6, False)):
        given: Any = (margin, positive_margin, 1 + squared, average)

        def here(labels, x, given=given):
            return loop(labels, x, *given)

        loss = Contrastive(margin, positive_margin, squared, average)
        check_against(here, loss, labels, shape, central_differences, seed=1)


@pytest.mark.parametrize(("margin", "known"), [(1.0, 0.621666), (2.0, 1.623333)])
def test_known_answers(margin, known):
    """Those of TensorFlow Addons' tests, given there as distances of six pairs."""
    distances = [0.1, 0.3, 1.3, 0.7, 1.1, 0.5]
    values = []
    for distance, is_same in zip(distances, [0, 0, 1, 1, 0, 1], strict=True):
        angle = 2 * np.arcsin(distance / 2)
        pair = 3 * np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
        labels = [0, 0] if is_same else [0, 1]
        values.append(float(Contrastive(margin, average="pairs")(labels, pair)))
    assert np.mean(values) == pytest.approx(known, abs=2e-6)


def test_references_take_the_place_of_the_batch():
    random = np.random.default_rng(0)
    x, r = random.normal(size=(3, 4)), random.normal(size=(5, 4))
    labels, known = np.array([0, 1, 2]), np.array([1, 0, 0, 3, 1])
    wanted = {True: [], False: []}
    for p in range(3):
        for q in range(5):
            distance = np.linalg.norm(unit(x[p]) - unit(r[q]))
            is_same = labels[p] == known[q]
            hinge = distance if is_same else max(0, 1 - distance)
            wanted[is_same].append(hinge**2)
    found = np.mean(contrastive(labels, x, references=(known, r)))
    expected = np.mean(wanted[True]) + np.mean(wanted[False])
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"margin": -0.1}, "margin=-0.1"),
        ({"positive_margin": float("nan")}, "positive_margin=nan"),
        ({"average": "mean"}, "average='mean': use one of kind, pairs, active"),
    ],
)
def test_constants_out_of_range(constants, words):
    with pytest.raises(UsageError, match=words):
        Contrastive(**constants)
