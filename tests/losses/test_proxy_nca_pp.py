import numpy as np
import pytest
from class_loops import by_learner, compare, labelled, shaped, softmax_cost, some

from deml_tf.errors import UsageError
from deml_tf.losses import ProxyNCAPP, proxy_nca_pp


@by_learner
def naive(labels, x, w, temperature=1 / 9):
    """The formula, image by image, in float64."""
    costs = []
    for vector, label in zip(x, labels, strict=True):
        near = np.array([-np.sum((vector - p) ** 2) for p in w]) / temperature
        costs.append(softmax_cost(near, label))
    return np.mean(costs)


@labelled
@shaped
@pytest.mark.parametrize("constants", [{}, {"temperature": 0.7}])
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    given = labels, *some(labels, shape)
    compare(proxy_nca_pp, naive, *given, central_differences, **constants)


def test_defaults_are_the_paper_s():
    loss = ProxyNCAPP(num_classes=3)
    assert (loss.temperature, loss.rate_multiplier, loss.l2) == (1 / 9, 100, 0)


@pytest.mark.parametrize(
    ("constants", "name"),
    [({"temperature": 0}, "temperature"), ({"rate_multiplier": 0}, "rate_multiplier")],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        ProxyNCAPP(**{"num_classes": 3, **constants})
