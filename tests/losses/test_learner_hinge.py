import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.losses import LEARNER_HINGE_WEIGHT, learner_hinge


def naive(parts):
    """The formula, pair by pair, in float64."""
    values = []
    for image in parts:
        unit = [e / np.sqrt(e @ e) for e in image]
        total = 0.0
        for a in range(len(unit)):
            for b in range(a + 1, len(unit)):
                distance = np.sqrt(np.sum((unit[a] - unit[b]) ** 2))
                total += 0.5 * max(0.0, 2 - distance) ** 2
        values.append(total)
    return np.array(values)


def values_and_gradient(parts):
    with tf.GradientTape() as tape:
        tape.watch(parts)
        values = learner_hinge(parts)
        loss = tf.reduce_sum(values * tf.range(1.0, len(parts) + 1))
    return values, tape.gradient(loss, parts)


@pytest.mark.parametrize("shape", [(5, 2, 3), (4, 3, 6), (1, 4, 2), (3, 1, 4)])
def test_values_and_gradients_equal_a_loop(shape, central_differences):
    parts = np.random.default_rng(0).normal(size=shape)
    values, gradient = values_and_gradient(tf.constant(parts, tf.float32))
    assert values.shape == shape[:1] and values.dtype == tf.float32
    np.testing.assert_allclose(values, naive(parts), rtol=1e-5, atol=1e-6)
    weight = np.arange(1, shape[0] + 1)
    wanted = central_differences(lambda x: naive(x) @ weight, parts)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)


def test_known_answers():
    parts = tf.constant([[[1.0, 0], [1, 0]], [[1, 0], [0, 5]], [[1, 0], [-2, 0]]])
    wanted = [2, 0.5 * (2 - np.sqrt(2)) ** 2, 0]
    np.testing.assert_allclose(learner_hinge(parts), wanted, atol=1e-6)
    assert LEARNER_HINGE_WEIGHT == 0.2


def test_one_learner_has_nobody_to_leave():
    values, gradient = values_and_gradient(tf.ones([3, 1, 4]))
    np.testing.assert_array_equal(values, np.zeros(3))
    np.testing.assert_array_equal(gradient, np.zeros((3, 1, 4)))


def test_learners_that_agree_give_a_finite_gradient():
    random = np.random.default_rng(1)
    parts = np.repeat(random.normal(size=(4, 1, 5)), 3, axis=1).astype("float32")
    parts[1, 2] += 1e-7  # nearly
    parts[2, 2] = random.normal(size=5)  # two agree, one does not
    parts[3, 0] = 0
    values, gradient = values_and_gradient(tf.constant(parts))
    np.testing.assert_allclose(values[0], 3 * 2, rtol=1e-6)
    assert np.all(np.isfinite(values)) and np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[0], 0)
    assert np.any(gradient[2, 2] != 0)


def test_the_order_of_learners_does_not_matter():
    parts = np.random.default_rng(2).normal(size=(4, 3, 5)).astype("float32")
    np.testing.assert_allclose(
        learner_hinge(tf.constant(parts[:, [2, 0, 1]])),
        learner_hinge(tf.constant(parts)),
        rtol=1e-5,
    )


def test_descent_parts_the_learners():
    parts = tf.Variable(
        np.random.default_rng(3).normal(size=(1, 2, 4)), dtype="float32"
    )
    before = float(learner_hinge(tf.convert_to_tensor(parts))[0])
    for _ in range(50):
        _, gradient = values_and_gradient(tf.convert_to_tensor(parts))
        parts.assign_sub(0.5 * gradient)
    assert float(learner_hinge(tf.convert_to_tensor(parts))[0]) < 0.1 * before


@pytest.mark.parametrize("learners", [1, 3])
def test_xla_and_graphs_equal_eager(learners):
    parts = np.random.default_rng(4).normal(size=(4, learners, 5)).astype("float32")
    parts[0] = parts[0, :1]
    wanted = values_and_gradient(tf.constant(parts))
    dynamic = tf.TensorSpec([None, learners, 5], tf.float32)

    def step(parts):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            values = learner_hinge(parts)
            weight = tf.range(1.0, tf.cast(tf.shape(parts)[0], tf.float32) + 1)
            loss = tf.reduce_sum(values * weight)
        return values, tape.gradient(loss, parts)

    for function in (
        tf.function(values_and_gradient, jit_compile=True),
        tf.function(step, input_signature=[dynamic]),
    ):
        found = function(tf.constant(parts))
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_computed_in_float32():
    parts = tf.cast(np.random.default_rng(5).normal(size=(4, 3, 5)), tf.bfloat16)
    values = learner_hinge(parts)
    assert values.dtype == tf.float32
    wanted = naive(tf.cast(parts, tf.float64).numpy())
    np.testing.assert_allclose(values, wanted, rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 3, 5)])
def test_shapes_that_are_not_parts(shape):
    with pytest.raises(UsageError, match="parts have shape"):
        learner_hinge(tf.zeros(shape))
