from typing import Any

import keras
import numpy as np
import pytest
from loops import each_learner, labelled, others, shaped, unit, value_and_gradient

from deml_tf.errors import UsageError
from deml_tf.losses import Circle, circle

# Of Keras's own tests of its circle loss.
LABELS = np.array([1, 1, 2, 2, 3])
EMBEDDINGS = np.array(
    [
        [0.70014004, -0.42008403, 0.14002801, 0.56011203],
        [0.17609018, 0.70436073, -0.52827054, 0.44022545],
        [-0.34050261, 0.25537696, -0.68100522, 0.59587957],
        [0.32163376, -0.75047877, 0.53605627, -0.21442251],
        [0.51261459, -0.34174306, 0.17087153, 0.76892189],
    ]
)


def loop(labels, x, still, margin, gamma):
    """The formula, anchor by anchor, its weights those of `still`."""
    cosines, fixed = unit(x) @ unit(x).T, unit(still) @ unit(still).T
    costs = []
    for p in range(len(labels)):
        same, other = others(labels, p)
        if len(same) and len(other):
            pull = push = 0.0
            for q in same:
                weight = max(0, 1 + margin - fixed[p, q])
                pull += np.exp(-gamma * weight * (cosines[p, q] - 1 + margin))
            for q in other:
                weight = max(0, fixed[p, q] + margin)
                push += np.exp(gamma * weight * (cosines[p, q] - margin))
            costs.append(np.log(1 + push * pull))
    return np.sum(costs) / max(len(costs), 1)


@labelled
@shaped
@pytest.mark.parametrize("constants", [(0.4, 80.0), (0.1, 3.0)])
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    embeddings = np.random.default_rng(len(labels)).normal(size=(len(labels), *shape))

    def wanted(x):
        pairs = zip(each_learner(x), each_learner(embeddings), strict=True)
        return np.mean([loop(labels, part, still, *constants) for part, still in pairs])

    value, gradient = value_and_gradient(Circle(*constants), labels, embeddings)
    np.testing.assert_allclose(value, wanted(embeddings), rtol=2e-5, atol=2e-6)
    expected = central_differences(wanted, embeddings)
    size = max(1, np.abs(expected).max())
    np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=2e-5 * size)


@pytest.mark.parametrize(
    ("gamma", "margin", "known"), [(80.0, 0.4, 188.3883), (256.0, 0.25, 652.7617)]
)
def test_known_answers(gamma, margin, known):
    loss = Circle(gamma=gamma, margin=margin)
    assert float(loss(LABELS, EMBEDDINGS)) == pytest.approx(known, abs=5e-4)
    peer: Any = keras.losses.Circle(gamma=gamma, margin=margin)
    found = loss(LABELS, 3 * EMBEDDINGS)
    assert float(found) == pytest.approx(float(peer(LABELS, EMBEDDINGS)), rel=1e-5)


def test_values_beside_references_are_those_of_keras():
    random = np.random.default_rng(0)
    known, references = np.array([1, 2, 3, 1, 5]), unit(random.normal(size=(5, 4)))
    wanted: Any = keras.losses.circle(
        LABELS,
        EMBEDDINGS.astype("float32"),
        ref_labels=known,
        ref_embeddings=references.astype("float32"),
        remove_diagonal=False,
    )
    found = circle(LABELS, EMBEDDINGS, references=(known, references))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("constants", "name"),
    [({"gamma": 0}, "gamma"), ({"margin": 1.5}, "margin")],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        Circle(**constants)
