import numpy as np
import pytest
from loops import check_against, labelled, others, shaped, unit

from deml_tf.errors import UsageError
from deml_tf.losses import SupervisedContrastive


def loop(labels, x, temperature=0.1):
    """The formula, anchor by anchor."""
    logits = unit(x) @ unit(x).T / temperature
    costs = []
    for p in range(len(labels)):
        same, other = others(labels, p)
        if same:
            every = np.log(np.sum(np.exp(logits[p, same + other])))
            costs.append(np.mean([every - logits[p, q] for q in same]))
    return np.sum(costs) / max(len(costs), 1)


@labelled
@shaped
@pytest.mark.parametrize("temperature", [0.1, 1.5])
def test_values_and_gradients_equal_a_loop(
    labels, shape, temperature, central_differences
):
    def here(labels, x):
        return loop(labels, x, temperature)

    loss = SupervisedContrastive(temperature)
    check_against(here, loss, labels, shape, central_differences)


def test_two_views_are_nt_xent():
    """Its definition, for pairs of rows 2 k and 2 k + 1."""
    x = np.random.default_rng(0).normal(size=(8, 5))
    logits = unit(x) @ unit(x).T / 0.5
    np.fill_diagonal(logits, -np.inf)
    softmax = np.exp(logits) / np.sum(np.exp(logits), axis=1, keepdims=True)
    wanted = -np.log(softmax[np.arange(8), np.arange(8) ^ 1])
    labels = np.repeat(np.arange(4), 2)
    found = SupervisedContrastive(0.5, reduction="none")(labels, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_temperatures_out_of_range(temperature):
    with pytest.raises(UsageError, match="temperature"):
        SupervisedContrastive(temperature)
