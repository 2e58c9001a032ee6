import numpy as np
import pytest
from class_loops import by_learner, compare, labelled, shaped, softmax_cost, some

from deml_tf.errors import UsageError
from deml_tf.losses import SoftTriple, cosface, soft_triple


@by_learner
def naive(labels, x, w, scale=20.0, gamma=0.1, margin=0.01, tau=0.2):
    """The formula, centre by centre, in float64."""
    n, k, _ = w.shape
    costs = []
    for vector, label in zip(x, labels, strict=True):
        cosines = np.zeros(n)
        for c in range(n):
            s = w[c] @ vector
            chosen = np.exp(s / gamma)
            cosines[c] = np.sum(chosen * s) / np.sum(chosen)
        cosines[label] -= margin
        costs.append(softmax_cost(scale * cosines, label))
    apart = 0.0
    for c in range(n):
        for a in range(k):
            for b in range(a + 1, k):
                apart += np.sqrt(2 - 2 * w[c, a] @ w[c, b])
    if k > 1:
        apart /= n * k * (k - 1)
    return np.mean(costs) + tau * apart


@labelled
@shaped
@pytest.mark.parametrize("centres", [2, 4])
@pytest.mark.parametrize(
    "constants", [{}, {"scale": 5.0, "gamma": 0.5, "margin": 0.2, "tau": 3.0}]
)
def test_values_and_gradients_equal_a_loop(
    labels, shape, centres, constants, central_differences
):
    given = labels, *some(labels, shape, centres)
    compare(soft_triple, naive, *given, central_differences, **constants)


def test_one_centre_is_cosface():
    embeddings, weights = some([3, 1, 4], (2, 4))
    np.testing.assert_allclose(
        soft_triple([3, 1, 4], embeddings, weights[:, :, None]),
        cosface([3, 1, 4], embeddings, weights, margin=0.01, scale=20.0),
        rtol=1e-5,
    )


def test_defaults_are_the_release_s():
    loss = SoftTriple(num_classes=3)
    assert (loss.scale, loss.gamma, loss.margin, loss.tau) == (20, 0.1, 0.01, 0.2)
    assert (loss.centres, loss.rate_multiplier) == (10, 100)
    loss.build((None,), (None, 2, 4))
    assert loss.class_weights.shape == (2, 3, 10, 4)


@pytest.mark.parametrize(
    ("constants", "name"),
    [
        ({"centres": 0}, "centres"),
        ({"scale": 0.0}, "scale"),
        ({"gamma": -1.0}, "gamma"),
        ({"margin": -0.1}, "margin"),
        ({"tau": float("inf")}, "tau"),
    ],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        SoftTriple(num_classes=3, **constants)
