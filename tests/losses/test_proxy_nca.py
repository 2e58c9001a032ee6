import numpy as np
import pytest
from class_loops import by_learner, compare, labelled, shaped, some

from deml_tf.errors import UsageError
from deml_tf.losses import ProxyNCA, proxy_nca


@by_learner
def naive(labels, x, w, scale=1.0):
    """The formula, image by image, in float64."""
    costs = []
    for vector, label in zip(x, labels, strict=True):
        near = np.array([-scale * np.sum((vector - p) ** 2) for p in w])
        others = np.delete(near, label)
        costs.append(np.log(np.sum(np.exp(others))) - near[label])
    return np.mean(costs)


@labelled
@shaped
@pytest.mark.parametrize("constants", [{}, {"scale": 4.0}])
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    given = labels, *some(labels, shape)
    compare(proxy_nca, naive, *given, central_differences, **constants)


def test_defaults_are_the_paper_s():
    loss = ProxyNCA(num_classes=3)
    assert (loss.scale, loss.rate_multiplier, loss.l2) == (1, 1, 0)


@pytest.mark.parametrize(
    ("constants", "name"),
    [
        ({"scale": 0}, "scale"),
        ({"l2": -1.0}, "l2"),
        ({"num_classes": 0}, "num_"),
    ],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        ProxyNCA(**{"num_classes": 3, **constants})


def test_there_must_be_another_proxy():
    with pytest.raises(UsageError, match="num_classes=1"):
        proxy_nca([0], np.ones([1, 2]), np.ones([1, 1, 2]))


def test_it_is_below_zero_beside_one_far_proxy():
    """Its own proxy on it, the other one opposite: -4."""
    value = proxy_nca([0], np.array([[3.0, 0.0]]), np.array([[2.0, 0.0], [-1.0, 0.0]]))
    assert float(value[0]) == pytest.approx(-4, abs=1e-5)
