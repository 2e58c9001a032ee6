import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.losses import unit_rows


def naive(kernel):
    """(0.5/d) sum (||w||^2 - 1)^2 over output vectors w, in float64."""
    total = 0.0
    for output in range(kernel.shape[1]):
        length = sum(kernel[c, output] ** 2 for c in range(kernel.shape[0]))
        total += (length - 1) ** 2
    return 0.5 / kernel.shape[1] * total


def value_and_gradient(kernel):
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        value = unit_rows(kernel)
    return value, tape.gradient(value, kernel)


@pytest.mark.parametrize("shape", [(6, 3), (2, 5), (1, 1)])
def test_value_and_gradient_equal_a_loop(shape, central_differences):
    kernel = np.random.default_rng(0).normal(size=shape)
    value, gradient = value_and_gradient(tf.constant(kernel, tf.float32))
    assert value.shape == () and value.dtype == tf.float32
    np.testing.assert_allclose(value, naive(kernel), rtol=1e-5)
    wanted = central_differences(naive, kernel)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)
    # In closed form: (2/d) (||w||^2 - 1) w.
    lengths = np.sum(kernel**2, axis=0)
    closed = 2 / shape[1] * (lengths - 1) * kernel
    np.testing.assert_allclose(gradient, closed, rtol=1e-4, atol=1e-5)


def test_the_output_vectors_are_meant_not_the_inputs():
    kernel = np.eye(3)[:, :2]  # outputs of length one, an input of length zero
    value, gradient = value_and_gradient(tf.constant(kernel, tf.float32))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)
    assert float(unit_rows(tf.constant(kernel.T, tf.float32))) == pytest.approx(1 / 6)


def test_it_takes_a_layer_s_kernel():
    layer = keras.layers.Dense(3, use_bias=False)
    layer.build((None, 4))
    wanted = naive(np.asarray(layer.kernel, np.float64))
    assert float(unit_rows(layer.kernel)) == pytest.approx(wanted, rel=1e-5)


def test_xla_equals_eager():
    kernel = tf.constant(np.random.default_rng(1).normal(size=(6, 3)), tf.float32)
    compiled = tf.function(value_and_gradient, jit_compile=True)(kernel)
    for found, wanted in zip(compiled, value_and_gradient(kernel), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_bfloat16_is_computed_in_float32():
    kernel = tf.cast(np.random.default_rng(2).normal(size=(6, 3)), tf.bfloat16)
    value = unit_rows(kernel)
    assert value.dtype == tf.float32
    wanted = naive(tf.cast(kernel, tf.float64).numpy())
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
