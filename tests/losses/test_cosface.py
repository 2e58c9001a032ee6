import numpy as np
import pytest
from class_loops import by_learner, compare, labelled, shaped, softmax_cost, some

from deml_tf.errors import UsageError
from deml_tf.losses import CosFace, cosface


@by_learner
def naive(labels, x, w, margin=0.35, scale=64.0):
    """The formula, image by image, in float64."""
    costs = []
    for vector, label in zip(x, labels, strict=True):
        cosines = w @ vector
        cosines[label] -= margin
        costs.append(softmax_cost(scale * cosines, label))
    return np.mean(costs)


@labelled
@shaped
@pytest.mark.parametrize("constants", [{}, {"margin": 0.1, "scale": 8.0}])
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    given = labels, *some(labels, shape)
    compare(cosface, naive, *given, central_differences, **constants)


def test_defaults_are_the_paper_s():
    loss = CosFace(num_classes=3)
    assert (loss.margin, loss.scale) == (0.35, 64)


@pytest.mark.parametrize(
    ("constants", "name"),
    [({"margin": -0.1}, "margin"), ({"scale": 0.0}, "scale")],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        CosFace(**{"num_classes": 3, **constants})
