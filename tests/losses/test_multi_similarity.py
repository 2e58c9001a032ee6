from typing import Any

import numpy as np
import pytest
from loops import check_against, labelled, others, shaped, unit

from deml_tf.errors import UsageError
from deml_tf.losses import MultiSimilarity


def loop(labels, x, alpha=2, beta=50, base=0.5, epsilon=0.1, mining=True):
    """The formula, anchor by anchor."""
    cosines = unit(x) @ unit(x).T
    total = 0.0
    for p in range(len(labels)):
        same, other = others(labels, p)
        chosen = list(same), list(other)
        if mining:
            chosen = [], []
            if len(same) and len(other):
                for q in same:
                    if cosines[p, q] - epsilon < max(cosines[p, other]):
                        chosen[0].append(q)
                for q in other:
                    if cosines[p, q] + epsilon > min(cosines[p, same]):
                        chosen[1].append(q)
        pull = sum(np.exp(-alpha * (cosines[p, q] - base)) for q in chosen[0])
        push = sum(np.exp(beta * (cosines[p, q] - base)) for q in chosen[1])
        total += np.log(1 + pull) / alpha + np.log(1 + push) / beta
    return total / len(labels)


@labelled
@shaped
@pytest.mark.parametrize("mining", [True, False])
def test_values_and_gradients_equal_a_loop(labels, shape, mining, central_differences):
    other: Any = {"alpha": 5.0, "beta": 3.0, "base": -0.2, "epsilon": 0.4}
    for constants in ({}, other):

        def here(labels, x, constants=constants):
            return loop(labels, x, mining=mining, **constants)

        loss = MultiSimilarity(mining=mining, **constants)
        check_against(here, loss, labels, shape, central_differences, seed=1)


def test_mining_leaves_out_what_is_easy():
    """One negative opposite of two positives: nothing is informative."""
    x = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
    loss = MultiSimilarity(reduction="none")
    np.testing.assert_array_equal(loss([0, 0, 1], x), [0, 0, 0])
    assert float(MultiSimilarity(mining=False)([0, 0, 1], x)) > 0.1


def test_defaults_are_the_release_s():
    loss: Any = MultiSimilarity()
    constants = loss.alpha, loss.beta, loss.base, loss.epsilon, loss.mining
    assert constants == (2, 50, 0.5, 0.1, True)


@pytest.mark.parametrize(
    ("constants", "name"),
    [({"alpha": 0}, "alpha"), ({"beta": -1.0}, "beta"), ({"base": 1.5}, "base")]
    + [({"epsilon": -0.1}, "epsilon")],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        MultiSimilarity(**constants)
