import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.losses import adversary_loss, ordered_pairs


def naive(predictions, parts):
    """1 - mean cosine over ordered pairs, in float64."""
    learners = parts.shape[1]
    values = []
    for image in range(len(parts)):
        cosines = []
        for a in range(learners):
            for b in range(learners):
                if a != b:
                    x = predictions[image, len(cosines)]
                    y = parts[image, b]
                    cosines.append(x @ y / np.sqrt((x @ x) * (y @ y)))
        values.append(1 - np.mean(cosines) if cosines else 0.0)
    return np.array(values)


def values_and_gradients(predictions, parts):
    with tf.GradientTape() as tape:
        tape.watch([predictions, parts])
        values = adversary_loss(predictions, parts)
        loss = tf.reduce_sum(tf.square(1 + values))
    return values, tape.gradient(loss, [predictions, parts])


def some(images, learners, d, seed=0):
    random = np.random.default_rng(seed)
    predictions = random.normal(size=(images, learners * (learners - 1), d))
    return predictions, random.normal(size=(images, learners, d))


def in_float32(*arrays):
    return [tf.constant(a, tf.float32) for a in arrays]


def test_pairs_in_their_order():
    source, target = ordered_pairs(3)
    listed = list(zip(source.tolist(), target.tolist(), strict=True))
    assert listed == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    for learners in (1, 2, 5):
        loop = [(a, b) for a in range(learners) for b in range(learners) if a != b]
        source, target = ordered_pairs(learners)
        assert list(zip(source.tolist(), target.tolist(), strict=True)) == loop
        assert source.dtype == target.dtype == np.int32


@pytest.mark.parametrize("shape", [(5, 2, 3), (3, 3, 4), (1, 4, 2)])
def test_values_and_gradients_equal_a_loop(shape, central_differences):
    predictions, parts = some(*shape)
    values, (gradient, _) = values_and_gradients(*in_float32(predictions, parts))
    assert values.shape == shape[:1] and values.dtype == tf.float32
    np.testing.assert_allclose(values, naive(predictions, parts), rtol=1e-5, atol=1e-6)
    wanted = central_differences(
        lambda x: np.sum((1 + naive(x, parts)) ** 2), predictions
    )
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)


def test_targets_have_no_gradient():
    given = in_float32(*some(4, 3, 5))
    _, (to_predictions, to_parts) = values_and_gradients(*given)
    assert to_parts is None
    assert np.any(to_predictions != 0)


def test_known_answers():
    parts = tf.constant([[[1.0, 0], [0, 1]]])
    right = tf.constant([[[0, 3.0], [2, 0]]])
    for predictions, wanted in [
        (right, 0.0),
        (-right, 2.0),
        (tf.reverse(right, [1]), 1.0),
        (tf.zeros([1, 2, 2]), 1.0),
    ]:
        np.testing.assert_allclose(
            adversary_loss(predictions, parts), [wanted], atol=1e-6
        )


def test_one_learner_has_nobody_to_predict():
    values, gradients = values_and_gradients(tf.zeros([3, 0, 4]), tf.ones([3, 1, 4]))
    np.testing.assert_array_equal(values, np.zeros(3))
    assert gradients[0].shape == (3, 0, 4) and gradients[1] is None


def test_zero_vectors_give_no_nan():
    predictions, parts = some(4, 3, 5)
    predictions[0] = 0
    parts[1] = 0
    values, (gradient, _) = values_and_gradients(*in_float32(predictions, parts))
    assert np.all(np.isfinite(values)) and np.all(np.isfinite(gradient))


def test_the_order_of_learners_does_not_matter():
    predictions, parts = some(4, 3, 5)
    order = [2, 0, 1]
    source, target = ordered_pairs(3)
    place = {pair: i for i, pair in enumerate(zip(source, target, strict=True))}
    moved = [place[order[a], order[b]] for a, b in zip(source, target, strict=True)]
    np.testing.assert_allclose(
        adversary_loss(*in_float32(predictions[:, moved], parts[:, order])),
        adversary_loss(*in_float32(predictions, parts)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("learners", [1, 3])
def test_xla_and_graphs_equal_eager(learners):
    given = in_float32(*some(4, learners, 5))

    def step(predictions, parts):
        values, (gradient, _) = values_and_gradients(predictions, parts)
        return values, gradient

    wanted = step(*given)
    dynamic = [tf.TensorSpec([None, *t.shape[1:]], tf.float32) for t in given]
    for function in (
        tf.function(step, jit_compile=True),
        tf.function(step, input_signature=dynamic),
    ):
        found = function(*given)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_computed_in_float32():
    given = [tf.cast(x, tf.bfloat16) for x in some(4, 3, 5)]
    values = adversary_loss(*given)
    assert values.dtype == tf.float32
    wanted = naive(*[tf.cast(x, tf.float64).numpy() for x in given])
    np.testing.assert_allclose(values, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("predictions", "parts", "name"),
    [
        ((4, 6, 5), (4, 15), "parts have shape"),
        ((4, 3, 5), (4, 3, 5), r"need \(b, 6, d\)"),
        ((4, 30), (4, 3, 5), r"need \(b, 6, d\)"),
    ],
)
def test_shapes_that_do_not_fit(predictions, parts, name):
    with pytest.raises(UsageError, match=name):
        adversary_loss(tf.zeros(predictions), tf.zeros(parts))
