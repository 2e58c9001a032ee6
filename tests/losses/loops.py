"""What the tests of losses by slow loops in float64 have in common."""

import numpy as np
import pytest
import tensorflow as tf

LABELS = {
    "two of each": [0, 0, 1, 1],
    "mixed": [3, 1, 3, 2, 1, 3],
    "unequal classes": [0, 0, 0, 0, 7],
    "one class": [5, 5, 5],
    "all different": [4, 2, 9, -1],
    "one image": [1],
}
labelled = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
shaped = pytest.mark.parametrize("shape", [(2,), (1, 4), (3, 5)])


def value_and_gradient(loss, labels, embeddings):
    embeddings = tf.cast(embeddings, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(labels, embeddings)
    return value, tape.gradient(value, embeddings)


def each_learner(embeddings):
    """Matrices (b, d), one a learner."""
    return [embeddings] if embeddings.ndim == 2 else list(np.moveaxis(embeddings, 1, 0))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def euclidean(x):
    """Distances of all rows of x, pair by pair."""
    n = len(x)
    return np.array([[np.linalg.norm(x[p] - x[q]) for q in range(n)] for p in range(n)])


def others(labels, p):
    """The images of the same class as p without p, and those of other classes."""
    rest = [q for q in range(len(labels)) if q != p]
    return (
        [q for q in rest if labels[q] == labels[p]],
        [q for q in rest if labels[q] != labels[p]],
    )


def check_against(loop, loss, labels, shape, central_differences, seed=0):
    """Value and gradient of a loss are those of a loop, at random embeddings."""
    random = np.random.default_rng(seed + len(labels))
    embeddings = random.normal(size=(len(labels), *shape))

    def wanted(x):
        return np.mean([loop(labels, part) for part in each_learner(x)])

    value, gradient = value_and_gradient(loss, labels, embeddings)
    np.testing.assert_allclose(value, wanted(embeddings), rtol=2e-5, atol=2e-6)
    expected = central_differences(wanted, embeddings)
    np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=1e-4)
