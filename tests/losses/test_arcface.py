import numpy as np
import pytest
from class_loops import by_learner, compare, labelled, shaped, softmax_cost, some

from deml_tf.errors import UsageError
from deml_tf.losses import ArcFace, arcface


@by_learner
def naive(labels, x, w, margin=0.5, scale=64.0):
    """The formula, image by image, in float64."""
    costs = []
    for vector, label in zip(x, labels, strict=True):
        cosines = w @ vector
        angle = np.arccos(cosines[label])
        if angle <= np.pi - margin:
            cosines[label] = np.cos(angle + margin)
        else:
            cosines[label] -= margin * np.sin(margin)
        costs.append(softmax_cost(scale * cosines, label))
    return np.mean(costs)


@labelled
@shaped
@pytest.mark.parametrize("constants", [{}, {"margin": 1.2, "scale": 8.0}])
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    given = labels, *some(labels, shape)
    compare(arcface, naive, *given, central_differences, **constants)


def test_defaults_are_the_paper_s():
    loss = ArcFace(num_classes=3)
    assert (loss.margin, loss.scale) == (0.5, 64)


@pytest.mark.parametrize(
    ("constants", "name"),
    [
        ({"margin": -0.1}, "margin"),
        ({"margin": 2.0}, "margin"),
        ({"scale": 0.0}, "scale"),
    ],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        ArcFace(**{"num_classes": 3, **constants})


def test_the_margin_where_the_cosine_would_rise():
    """At and beyond pi - margin the cost goes on rising with the angle."""
    angles = np.linspace(0, np.pi, 181)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    weights = np.array([[1.0, 0.0], [0.0, -1.0]])
    logits = [
        arcface([0], vector[None], weights, scale=1.0, margin=0.5)[0]
        for vector in vectors
    ]
    # With two classes: the logit is -log(exp(cost) - 1) + cos(other).
    own = -np.log(np.expm1(np.array(logits, np.float64))) - np.sin(angles)
    assert np.all(np.diff(own) < 1e-6)
    assert own[0] == pytest.approx(np.cos(0.5), abs=1e-5)
    assert own[-1] == pytest.approx(-1 - 0.5 * np.sin(0.5), abs=1e-5)


def test_no_margin_is_the_normalised_softmax():
    from deml_tf.losses import normalised_softmax

    given = [3, 1, 4], *some([3, 1, 4], (2, 4))
    np.testing.assert_allclose(
        arcface(*given, margin=0.0, scale=20.0),
        normalised_softmax(*given, temperature=0.05),
        rtol=1e-5,
    )
