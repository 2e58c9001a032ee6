from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from loops import LABELS, euclidean, labelled, others, unit
from test_triplet import shares

from deml_tf.errors import UsageError
from deml_tf.losses import Margin, margin

CLASSES = 6


def loop(labels, x, beta, still, alpha, sampling, nu):
    """The formula, pair by pair, for one learner; draws are those at `still`."""
    distances, drawn_at = euclidean(unit(x)), euclidean(unit(still))
    total, active = 0.0, 0.0
    for a in range(len(labels)):
        same, other = others(labels, a)
        if not same or not other:
            continue
        own = beta[labels[a]] if len(beta) > 1 else beta[0]
        draws = [(n, 1 / len(other)) for n in other]
        if sampling == "distance_weighted":
            draws = shares(drawn_at[a], other, x.shape[-1])
        for p in same:
            terms = [(1.0, alpha + distances[a, p] - own)]
            terms += [(w, alpha - distances[a, n] + own) for n, w in draws]
            total += nu * own + sum(w * max(0, e) for w, e in terms)
            active += sum(w for w, e in terms if e > 0)
    return total / active if active else 0.0


def numbered(labels):
    return np.unique(labels, return_inverse=True)[1]


@labelled
@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize(
    ("alpha", "sampling", "nu"),
    [(0.2, "distance_weighted", 0.0), (0.4, "all", 0.3)],
)
@pytest.mark.parametrize("learners", [1, 3])
def test_values_and_gradients_equal_a_loop(
    labels, per_class, alpha, sampling, nu, learners, central_differences
):
    random = np.random.default_rng(len(labels))
    labels = numbered(labels)
    x = random.normal(size=(len(labels), learners, 5))
    beta = random.uniform(0.9, 1.4, size=(learners, CLASSES if per_class else 1))
    loss: Any = Margin(CLASSES, alpha, 1.2, per_class, sampling, nu)
    loss.build((None,), (None, learners, 5))
    loss.class_weights.assign(beta)

    def wanted(x, beta, still=x):
        given = (alpha, sampling, nu)
        return np.mean(
            [
                loop(labels, x[:, j], beta[j], still[:, j], *given)
                for j in range(learners)
            ]
        )

    embeddings, boundaries = tf.constant(x, tf.float32), loss.class_weights.value
    with tf.GradientTape() as tape:
        tape.watch([embeddings, boundaries])
        value = tf.reduce_mean(loss.call(labels, embeddings))
    found: Any = tape.gradient(value, [embeddings, boundaries])
    np.testing.assert_allclose(value, wanted(x, beta), rtol=2e-5, atol=2e-6)
    expected = central_differences(lambda x: wanted(x, beta), x)
    np.testing.assert_allclose(found[0], expected, rtol=2e-4, atol=1e-4)
    expected = central_differences(lambda beta: wanted(x, beta), beta)
    np.testing.assert_allclose(found[1], expected, rtol=2e-4, atol=1e-5)


def test_the_boundaries_start_at_beta():
    loss: Any = Margin(4, beta=1.1, per_class=True)
    loss.build((None,), (None, 2, 5))
    np.testing.assert_allclose(loss.class_weights, np.full((2, 4), 1.1))
    assert (Margin(4).margin, Margin(4).beta) == (0.2, 1.2)


def test_a_class_that_there_is_not_is_nan():
    x = np.random.default_rng(0).normal(size=(4, 5))
    values = margin([0, 0, 1, 3], x, np.ones((1, 3)))
    assert np.isnan(values[3])
    assert np.isfinite(margin([0, 0, 1, 3], x, np.ones((1, 1)))).all()


def test_boundaries_for_other_learners_are_refused():
    with pytest.raises(UsageError, match="give learners alike"):
        margin(LABELS["two of each"], np.ones((4, 2, 3)), np.ones((3, 1)))


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"margin": -0.1}, "margin=-0.1"),
        ({"beta": 0.0}, "beta=0.0"),
        ({"nu": -1.0}, "nu=-1.0"),
        ({"sampling": "hard"}, "sampling='hard'"),
        ({"pairs": "all"}, "pairs='all'"),
    ],
)
def test_constants_out_of_range(constants, words):
    with pytest.raises(UsageError, match=words):
        Margin(4, **constants)
