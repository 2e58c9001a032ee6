import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.layers.gradient_reversal import GradientReversal


@pytest.mark.parametrize("scale", [1.0, 0.25, 0.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_pass_and_gradients_turn(scale, dtype):
    x = tf.constant([[1.0, -2.0, 3.0]], dtype)
    weights = tf.constant([[0.5, 1.0, -2.0]], dtype)
    layer = GradientReversal(scale, dtype=dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        total = tf.reduce_sum(y * weights)
    np.testing.assert_array_equal(y, x)
    gradient = tape.gradient(total, x)
    assert gradient.dtype == x.dtype
    np.testing.assert_array_equal(gradient, -scale * weights.numpy())


@pytest.mark.parametrize("jit_compile", [False, True])
def test_scale_changes_from_call_to_call(jit_compile):
    layer = GradientReversal(5.0)

    @tf.function(jit_compile=jit_compile)
    def gradient(x, scale):
        with tf.GradientTape() as tape:
            tape.watch([x, scale])
            total = tf.reduce_sum(layer(x, scale) ** 2)
        return tape.gradient(total, [x, scale])

    x = tf.constant([1.0, 2.0])
    for scale in (0.0, 0.5, 2.0):
        found, of_scale = gradient(x, tf.constant(scale))
        np.testing.assert_allclose(found, -scale * 2 * x.numpy())
        assert of_scale is None or not np.any(of_scale)


def test_reversed_part_of_a_network_descends_the_other_way():
    x = tf.Variable([[1.0, 2.0]])
    head = tf.Variable([[0.3], [-0.4]])
    layer = GradientReversal(0.1)
    with tf.GradientTape(persistent=True) as tape:
        plain = tf.reduce_sum(x @ head)
        turned = tf.reduce_sum(layer(x) @ head)
    np.testing.assert_allclose(
        tape.gradient(turned, x), -0.1 * tape.gradient(plain, x), rtol=1e-6
    )
    np.testing.assert_array_equal(
        tape.gradient(turned, head), tape.gradient(plain, head)
    )


def test_it_saves_and_loads(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, GradientReversal(0.5, name="turn")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("turn").scale == 0.5
    assert loaded.output_shape == (None, 3)
