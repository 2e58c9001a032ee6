from typing import Any

import numpy as np
import pytest
from loops import (
    euclidean,
    labelled,
    others,
    shaped,
    unit,
    value_and_gradient,
)

from deml_tf.errors import UsageError
from deml_tf.losses import Triplet

SAMPLINGS = ("semi_hard", "hard", "easy_positive", "distance_weighted", "all")
sampled = pytest.mark.parametrize("sampling", SAMPLINGS)


def beyond(row, positive, other):
    """The nearest negative beyond the positive, or the farthest of all."""
    distances = sorted(row[n] for n in other)
    return next((d for d in distances if d > positive), distances[-1])


def shares(row, other, dimensions):
    """Probabilities of the negatives, from distances that have no gradient."""
    drawn = [n for n in other if row[n] < 1.4]
    cut = np.array([max(row[n], 0.5) for n in drawn])
    q = cut ** (dimensions - 2.0) * (1 - cut**2 / 4) ** ((dimensions - 3) / 2)
    return list(zip(drawn, (1 / q) / np.sum(1 / q), strict=True))


def loop(labels, x, sampling, margin=1.0, soft=False, power=1, still=None):
    """The formula, triplet by triplet; probabilities of draws are those of `still`."""
    plain = euclidean(unit(x))
    distances = plain**power
    drawn_at = euclidean(unit(x if still is None else still))

    def cost(positive, negative):
        excess = positive - negative
        return np.log1p(np.exp(excess)) if soft else max(0.0, excess + margin)

    costs, positive_pairs = [], 0
    for a in range(len(labels)):
        same, other = others(labels, a)
        positive_pairs += len(same)
        if not same or not other:
            continue
        row = distances[a]
        if sampling == "hard":
            costs.append(cost(max(row[same]), min(row[other])))
        elif sampling == "easy_positive":
            costs.append(cost(min(row[same]), beyond(row, min(row[same]), other)))
        elif sampling == "semi_hard":
            costs += [cost(row[p], beyond(row, row[p], other)) for p in same]
        elif sampling == "all":
            costs += [cost(row[p], row[n]) for p in same for n in other]
        else:
            drawn = shares(drawn_at[a], other, x.shape[-1])
            for p in same:
                costs += [w * cost(row[p], row[n]) for n, w in drawn]
    count = positive_pairs
    if sampling in ("hard", "easy_positive"):
        count = len(labels)
    if sampling == "all":
        count = np.count_nonzero(costs)
    return sum(costs) / max(count, 1)


@labelled
@shaped
@sampled
def test_values_and_gradients_equal_a_loop(
    labels, shape, sampling, central_differences
):
    random = np.random.default_rng(len(labels))
    embeddings = random.normal(size=(len(labels), *shape))
    by_learner = np.moveaxis(embeddings.reshape(len(labels), -1, shape[-1]), 1, 0)
    for margin, soft, squared in (
        (1.0, False, False),
        (0.2, False, True),
        (0, True, 0),
    ):
        given: Any = (sampling, margin, soft, 1 + squared)

        def wanted(x, given=given):
            parts = np.moveaxis(x.reshape(len(x), -1, shape[-1]), 1, 0)
            return np.mean(
                [
                    loop(labels, part, *given, still=still)
                    for part, still in zip(parts, by_learner, strict=True)
                ]
            )

        loss = Triplet(margin, sampling, soft, bool(squared))
        value, gradient = value_and_gradient(loss, labels, embeddings)
        np.testing.assert_allclose(value, wanted(embeddings), rtol=3e-5, atol=2e-6)
        expected = central_differences(wanted, embeddings)
        np.testing.assert_allclose(gradient, expected, rtol=3e-4, atol=1e-4)


@sampled
def test_a_batch_of_classes(sampling):
    """More images than the gradients' loop could do: 8 classes of 4, and strays."""
    random = np.random.default_rng(3)
    labels = [*np.repeat(np.arange(8), 4), 90, 91]
    x = random.normal(size=(34, 6)) + 2 * np.eye(34, 6)
    found = Triplet(0.3, sampling)(labels, x)
    assert float(found) == pytest.approx(loop(labels, x, sampling, 0.3), rel=1e-5)


@sampled
def test_a_negative_as_far_as_the_positive_is_not_beyond(sampling):
    labels = [0, 0, 1, 0, 1]
    x = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [-1, 0]])
    found = Triplet(0.75, sampling)(labels, x)
    assert float(found) == pytest.approx(loop(labels, x, sampling, 0.75), rel=1e-5)


def test_defaults_are_addons_s():
    loss: Any = Triplet()
    assert (loss.margin, loss.sampling, loss.soft, loss.squared) == (
        1.0,
        "semi_hard",
        False,
        False,
    )


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"margin": -0.1}, "margin=-0.1"),
        ({"sampling": "random"}, "sampling='random': use one of semi_hard, hard"),
    ],
)
def test_constants_out_of_range(constants, words):
    with pytest.raises(UsageError, match=words):
        Triplet(**constants)
