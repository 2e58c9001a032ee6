from typing import Any

import numpy as np
import pytest
from loops import check_against, labelled, others, shaped, unit, value_and_gradient

from deml_tf.errors import UsageError
from deml_tf.losses import SNR


def loop(labels, x, margin=1, positive_margin=0, average="kind", weight=0.1, norm=True):
    """The formula, pair by pair."""
    x = unit(x) if norm else x
    costs = {True: [], False: []}
    for p in range(len(labels)):
        same, other = others(labels, p)
        for q in same + other:
            ratio = np.var(x[p] - x[q]) / np.var(x[p])
            hinge = ratio - positive_margin if q in same else margin - ratio
            costs[q in same].append(max(0, hinge))
    counts = {kind: len(c) for kind, c in costs.items()}
    if average == "pairs":
        counts = dict.fromkeys(counts, sum(counts.values()))
    if average == "active":
        counts = {kind: np.count_nonzero(c) for kind, c in costs.items()}
    pull = weight * np.mean(np.abs(np.sum(x, axis=-1)))
    return sum(sum(c) / max(counts[kind], 1) for kind, c in costs.items()) + pull


@labelled
@pytest.mark.parametrize("shape", [(3,), (1, 4), (3, 5)])
@pytest.mark.parametrize(
    "given",
    [
        (1.0, 0.0, "kind", 0.1, True),
        (2.5, 0.2, "active", 0.0, False),
        (2.0, 0.0, "pairs", 1.0, False),
    ],
)
def test_values_and_gradients_equal_a_loop(labels, shape, given, central_differences):
    def here(labels, x):
        return loop(labels, x, *given)

    check_against(here, SNR(*given), labels, shape, central_differences)


@shaped
def test_what_varies_in_no_dimension_is_not_compared(shape):
    """It counts in no mean, but another anchor sees it."""
    labels = [0, 0, 0, 1]
    x = np.random.default_rng(0).normal(size=(4, *shape))
    x[0] = 1
    loss: Any = SNR(mean_weight=0.0)
    value, gradient = value_and_gradient(loss, labels, x)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    unseen = value_and_gradient(loss, labels[1:], x[1:])[0]
    # Anchors 1 and 2 have a positive more, whose noise is their own variance.
    assert float(value) != pytest.approx(float(unseen), abs=1e-3)
    seen = SNR(mean_weight=0.0, margin=0.0)([0, 0], x[:2])
    assert float(seen) == pytest.approx(1.0, rel=1e-5)


def test_variance_is_of_the_anchor():
    x = np.array([[1.0, -1.0], [3.0, -3.0]])
    found = SNR(mean_weight=0.0, normalise=False, margin=0.0)([0, 0], x)
    assert float(found) == pytest.approx((4 / 1 + 4 / 9) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"margin": -0.1}, "margin=-0.1"),
        ({"positive_margin": -1.0}, "positive_margin=-1.0"),
        ({"mean_weight": float("inf")}, "mean_weight=inf"),
        ({"average": "mean"}, "average='mean'"),
    ],
)
def test_constants_out_of_range(constants, words):
    with pytest.raises(UsageError, match=words):
        SNR(**constants)
