import numpy as np
import pytest
from loops import check_against, labelled, others, shaped

from deml_tf.errors import UsageError
from deml_tf.losses import NPairs
from deml_tf.losses.n_pairs import n_pairs_costs

CORNERS = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")


def loop(labels, x, norm_weight):
    """The formula, anchor by anchor."""
    costs = []
    for p in range(len(labels)):
        same, other = others(labels, p)
        if same:
            total = sum(np.exp(x[p] @ x[q]) for q in same + other)
            costs.append(np.log(total) - np.mean([x[p] @ x[q] for q in same]))
    norms = norm_weight / 2 * np.mean(np.sum(x**2, axis=-1))
    return sum(costs) / max(len(costs), 1) + norms


@labelled
@shaped
@pytest.mark.parametrize("norm_weight", [0.0, 0.002, 0.5])
def test_values_and_gradients_equal_a_loop(
    labels, shape, norm_weight, central_differences
):
    def here(labels, x):
        return loop(labels, x, norm_weight)

    check_against(here, NPairs(norm_weight), labels, shape, central_differences)


def test_known_answer_of_addons():
    """Four anchors with a positive each, given as a matrix of similarities."""
    similarities = CORNERS @ CORNERS.T
    same = np.eye(4, dtype=bool)
    costs = n_pairs_costs(similarities, same, ~same)
    np.testing.assert_allclose(costs, 4 * [0.253856], atol=1e-6)


def test_known_answer_with_several_positives():
    """Addons' batch of several labels has weights of its own; these are alike."""
    same = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]], bool)
    similarities = CORNERS @ CORNERS.T
    own, next_one = np.log(1 + 2 * np.exp(-2) + np.exp(-4)), [2, 4, 2, 0]
    wanted = [own + step / 2 for step in next_one]
    costs = n_pairs_costs(similarities, same, ~same)
    np.testing.assert_allclose(costs, wanted, atol=1e-6)


def test_constants_out_of_range():
    with pytest.raises(UsageError, match="norm_weight=-1"):
        NPairs(-1)
