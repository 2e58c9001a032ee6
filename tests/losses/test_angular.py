import numpy as np
import pytest
from loops import check_against, labelled, others, shaped, unit

from deml_tf.errors import UsageError
from deml_tf.losses import Angular, angular


def loop(labels, x, alpha):
    """The formula, triplet by triplet."""
    x = unit(x)
    tangent = np.tan(np.deg2rad(alpha)) ** 2
    costs = []
    for a in range(len(labels)):
        same, other = others(labels, a)
        for p in same:
            total = sum(
                np.exp(
                    4 * tangent * (x[a] + x[p]) @ x[n] - 2 * (1 + tangent) * x[a] @ x[p]
                )
                for n in other
            )
            costs.append(np.log(1 + total))
    return sum(costs) / max(len(costs), 1)


@labelled
@shaped
@pytest.mark.parametrize("alpha", [36.0, 40.0, 55.0])
def test_values_and_gradients_equal_a_loop(labels, shape, alpha, central_differences):
    def here(labels, x):
        return loop(labels, x, alpha)

    check_against(here, Angular(alpha), labels, shape, central_differences)


@pytest.mark.parametrize("alpha", [1.0, 40.0, 60.0])
def test_extremes(alpha):
    """A right angle between classes, or none, or opposites: in closed form."""
    tangent = np.tan(np.deg2rad(alpha)) ** 2
    for negative, cosine in (([0, 1], 0), ([1, 0], 1), ([-1, 0], -1)):
        x = np.array([[1, 0], [1, 0], negative], float)
        f = 8 * tangent * cosine - 2 * (1 + tangent)
        found = float(Angular(alpha)([0, 0, 1], x))
        assert found == pytest.approx(np.logaddexp(0, f), rel=2e-5)


def test_references_take_the_place_of_the_batch():
    random = np.random.default_rng(0)
    x, r = unit(random.normal(size=(3, 4))), unit(random.normal(size=(5, 4)))
    labels, known = np.array([0, 1, 2]), np.array([1, 0, 0, 3, 1])
    costs = []
    for a in range(3):
        for p in np.flatnonzero(known == labels[a]):
            f = [
                4 * (x[a] + r[p]) @ r[n] - 4 * x[a] @ r[p]
                for n in np.flatnonzero(known != labels[a])
            ]
            costs.append(np.log(1 + np.sum(np.exp(f))))
    found = np.mean(angular(labels, x, alpha=45.0, references=(known, r)))
    assert float(found) == pytest.approx(np.mean(costs), rel=1e-5)


@pytest.mark.parametrize("alpha", [0, -40, 61, float("nan")])
def test_angles_out_of_range(alpha):
    with pytest.raises(UsageError, match=f"alpha={alpha}: it must be an angle"):
        Angular(alpha)
