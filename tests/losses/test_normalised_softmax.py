import numpy as np
import pytest
from class_loops import by_learner, compare, labelled, shaped, softmax_cost, some

from deml_tf.errors import UsageError
from deml_tf.losses import NormalisedSoftmax, normalised_softmax


@by_learner
def naive(labels, x, w, temperature=0.05):
    """The formula, image by image, in float64."""
    costs = []
    for vector, label in zip(x, labels, strict=True):
        costs.append(softmax_cost(w @ vector / temperature, label))
    return np.mean(costs)


@labelled
@shaped
@pytest.mark.parametrize("constants", [{}, {"temperature": 0.7}])
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    given = labels, *some(labels, shape)
    compare(normalised_softmax, naive, *given, central_differences, **constants)


def test_defaults_are_the_paper_s():
    loss = NormalisedSoftmax(num_classes=3)
    assert (loss.temperature, loss.l2) == (0.05, 0)


@pytest.mark.parametrize(
    ("constants", "name"),
    [({"temperature": float("nan")}, "temperature"), ({"temperature": -1.0}, "temp")],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        NormalisedSoftmax(**{"num_classes": 3, **constants})
