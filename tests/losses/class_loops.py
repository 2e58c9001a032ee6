"""What tests of losses with class weights share: naive values beside ours."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

CLASSES = 5
LABELS = {
    "mixed": [3, 1, 3, 2, 1, 3],
    "one class": [4, 4, 4],
    "all": [0, 1, 2, 3, 4],
    "one image": [1],
}
labelled = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
shaped = pytest.mark.parametrize("shape", [(2,), (1, 4), (3, 5)])


def some(labels, shape, *centres):
    """Embeddings, and weights of the classes for as many learners."""
    random = np.random.default_rng(len(labels))
    learners = shape[0] if len(shape) == 2 else 1
    weights = random.normal(size=(learners, CLASSES, *centres, shape[-1]))
    return random.normal(size=(len(labels), *shape)), weights


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_learner(naive):
    """A loop's mean over learners, of what it says of one: `(b, d)` and `(n, d)`."""

    def mean(labels, embeddings, weights, **constants):
        if embeddings.ndim == 2:
            embeddings = embeddings[:, None]
        each = [
            naive(labels, unit(embeddings[:, j]), unit(weights[j]), **constants)
            for j in range(len(weights))
        ]
        return np.mean(each)

    return mean


def softmax_cost(logits, label):
    return np.log(np.sum(np.exp(logits - logits[label])))


def compare(loss, naive, labels, embeddings, weights, central_differences, **constants):
    """The mean value and its gradients for embeddings and weights."""
    given = [tf.constant(x, tf.float32) for x in (embeddings, weights)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        values = loss(tf.constant(labels), *given, **constants)
        mean = tf.reduce_mean(values)
    assert values.shape == (len(labels),) and values.dtype == tf.float32
    wanted = naive(labels, embeddings, weights, **constants)
    np.testing.assert_allclose(mean, wanted, rtol=2e-5, atol=2e-5)
    found: Any = tape.gradient(mean, given)
    for gradient, wanted in (
        (
            found[0],
            central_differences(
                lambda x: naive(labels, x, weights, **constants), embeddings
            ),
        ),
        (
            found[1],
            central_differences(
                lambda w: naive(labels, embeddings, w, **constants), weights
            ),
        ),
    ):
        atol = 2e-5 * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(gradient, wanted, rtol=2e-4, atol=atol)
