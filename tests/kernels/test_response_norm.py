import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.kernels.response_norm import ResponseNorm


def maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 200, shape).astype("f4")


def naive(x, radius, alpha, beta, bias):
    y = np.empty(x.shape)
    for index in np.ndindex(*x.shape):
        *place, c = index
        total = sum(
            float(x[(*place, k)]) ** 2
            for k in range(x.shape[-1])
            if abs(k - c) <= radius
        )
        y[index] = x[index] / (bias + alpha * total) ** beta
    return y


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize(
    "settings", [(2, 2e-5, 0.75, 1.0), (1, 1e-3, 0.5, 2.0), (3, 1e-4, 1.0, 0.5)]
)
def test_values(channels, settings):
    x = maps(2, 3, 2, channels)
    y = ResponseNorm(*settings)(x)
    np.testing.assert_allclose(y, naive(x, *settings), rtol=1e-5, atol=1e-4)


def test_defaults_are_googlenets():
    x = maps(1, 2, 2, 7)
    expected = naive(x, 2, 1e-4 / 5, 0.75, 1.0)
    np.testing.assert_allclose(ResponseNorm()(x), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16"])
def test_policies_and_xla(policy, jit_compile):
    """Inside all is float32: bfloat16 loses no more than its ends do."""
    layer, x = ResponseNorm(dtype=policy), tf.constant(maps(2, 4, 4, 8))
    x = tf.cast(tf.cast(x, layer.compute_dtype), tf.float32)

    @tf.function(jit_compile=jit_compile)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
        return y, tape.gradient(loss, x)

    y, gradient = run(x)
    assert y.dtype == layer.compute_dtype
    expected = naive(x.numpy(), 2, 2e-5, 0.75, 1.0)
    step = 2.0**-8 if layer.compute_dtype == "bfloat16" else 1e-5
    np.testing.assert_allclose(tf.cast(y, tf.float32), expected, rtol=step, atol=1e-4)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_gradient():
    x = tf.constant(maps(1, 1, 1, 6), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(ResponseNorm()(x) * tf.range(6.0))
    found = tape.gradient(total, x).numpy().ravel()
    for c in range(6):
        nudge = np.zeros((1, 1, 1, 6))
        nudge[..., c] = 1e-3
        high, low = (
            (naive(x.numpy().astype("f8") + sign * nudge, 2, 2e-5, 0.75, 1.0))
            for sign in (1, -1)
        )
        slope = ((high - low) * np.arange(6)).sum() / 2e-3
        assert found[c] == pytest.approx(slope, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "settings", [(2, 2e-5, 0.75, 1.0), (1, 1e-3, 0.5, 2.0), (3, 1e-4, 1.0, 0.5)]
)
def test_the_compiled_part_is_the_same(settings, policy):
    """Values and gradients, within the rounding of what goes in and out."""
    layer = ResponseNorm(*settings, dtype=policy)
    x = tf.cast(maps(2, 3, 3, 9), layer.compute_dtype)
    weights = tf.cast(maps(2, 3, 3, 9, seed=1), layer.compute_dtype)

    def run(layer, training):
        @tf.function
        def both(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training)
            return y, tape.gradient(y, x, weights)

        return both(x)

    plain = run(layer, training=False)
    twin = layer.compiled_twin()
    compiled = run(twin, training=False)
    for a, b in zip(compiled, run(layer, training=True), strict=True):
        np.testing.assert_array_equal(a, b)
    assert compiled[0].dtype == compiled[1].dtype == layer.compute_dtype
    step = 2.0**-7 if layer.compute_dtype == "bfloat16" else 2e-6
    for a, b in zip(compiled, plain, strict=True):
        b = tf.cast(b, tf.float32).numpy()
        np.testing.assert_allclose(
            tf.cast(a, tf.float32), b, rtol=step, atol=step * np.abs(b).max()
        )


def test_float64_loses_nothing():
    x = maps(2, 3, 2, 8).astype("f8")
    y = ResponseNorm(dtype="float64")(x)
    np.testing.assert_allclose(y, naive(x, 2, 2e-5, 0.75, 1.0), rtol=1e-13)


def test_inference_is_a_plain_operation_unless_compiled():
    """Exports run where there is no XLA."""
    layer, x = ResponseNorm(), tf.TensorSpec((1, 2, 2, 8))

    def operations(layer, training=False):
        function = tf.function(lambda x: layer(x, training=training))
        graph = function.get_concrete_function(x).graph
        return [o.type for o in graph.get_operations()]

    assert "LRN" in operations(layer)
    assert "LRN" not in operations(layer, training=True)
    assert "LRN" not in operations(layer.compiled_twin())


def test_it_saves_and_loads(tmp_path):
    inputs = keras.Input((4, 4, 6))
    model = keras.Model(inputs, ResponseNorm(1, 1e-3, 0.5, 2.0, name="norm")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = maps(2, 4, 4, 6)
    np.testing.assert_array_equal(model(x), loaded(x))
    norm = loaded.get_layer("norm")
    assert (norm.radius, norm.alpha, norm.beta, norm.bias) == (1, 1e-3, 0.5, 2.0)
    assert loaded.output_shape == (None, 4, 4, 6)
