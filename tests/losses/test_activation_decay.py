import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.losses import ACTIVATION_DECAY_WEIGHT, activation_decay


def naive(pooled, kernel):
    """||W x||^2 / d, number by number, in float64."""
    values = []
    for x in pooled:
        total = 0.0
        for w in kernel.T:
            total += sum(w[c] * x[c] for c in range(len(x))) ** 2
        values.append(total / kernel.shape[1])
    return np.array(values)


def some(images, channels, d):
    random = np.random.default_rng(0)
    return random.normal(size=(images, channels)), random.normal(size=(channels, d))


def values_and_gradients(pooled, kernel):
    with tf.GradientTape() as tape:
        tape.watch([pooled, kernel])
        values = activation_decay(pooled, kernel)
        loss = tf.reduce_mean(values)
    return values, tape.gradient(loss, [pooled, kernel])


@pytest.mark.parametrize("shape", [(4, 6, 3), (1, 2, 5), (3, 1, 1)])
def test_values_and_gradients_equal_a_loop(shape, central_differences):
    pooled, kernel = some(*shape)
    given = [tf.constant(x, tf.float32) for x in (pooled, kernel)]
    values, (to_pooled, to_kernel) = values_and_gradients(*given)
    assert values.shape == shape[:1] and values.dtype == tf.float32
    np.testing.assert_allclose(values, naive(pooled, kernel), rtol=1e-5)
    assert to_pooled is None
    wanted = central_differences(lambda k: np.mean(naive(pooled, k)), kernel)
    np.testing.assert_allclose(to_kernel, wanted, rtol=1e-4, atol=1e-5)


def test_features_are_out_of_reach():
    features = keras.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    embedding = keras.layers.Dense(2, use_bias=False)
    embedding.build((None, 3))
    with tf.GradientTape() as tape:
        pooled = features(tf.ones([5, 4]))
        loss = tf.reduce_mean(activation_decay(pooled, embedding.kernel))
    below = [w.value for w in features.trainable_variables]
    *reached, to_kernel = tape.gradient(loss, [*below, embedding.kernel.value])
    assert reached == [None, None]
    assert np.any(to_kernel != 0)


def test_known_answer():
    value = activation_decay(tf.constant([[1.0, 2]]), tf.constant([[3.0, 0], [1, 1]]))
    np.testing.assert_allclose(value, [(5**2 + 2**2) / 2])
    assert ACTIVATION_DECAY_WEIGHT == 0.014


def test_xla_equals_eager():
    given = [tf.constant(x, tf.float32) for x in some(4, 6, 3)]

    def step(pooled, kernel):
        values, (_, to_kernel) = values_and_gradients(pooled, kernel)
        return values, to_kernel

    compiled = tf.function(step, jit_compile=True)(*given)
    for found, wanted in zip(compiled, step(*given), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_bfloat16_is_computed_in_float32():
    given = [tf.cast(x, tf.bfloat16) for x in some(4, 6, 3)]
    values = activation_decay(*given)
    assert values.dtype == tf.float32
    wanted = naive(*[tf.cast(x, tf.float64).numpy() for x in given])
    np.testing.assert_allclose(values, wanted, rtol=1e-5)
