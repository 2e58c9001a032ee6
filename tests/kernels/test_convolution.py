import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.kernels.convolution import Convolution
from deml_tf.kernels.normed_convolution import NormedConvolution

SETTINGS = [
    {"filters": 6, "kernel_size": 1, "activation": "relu"},
    {"filters": 6, "kernel_size": 1},
    {"filters": 6, "kernel_size": 1, "strides": 2, "activation": "relu6"},
    {"filters": 5, "kernel_size": 3, "padding": "same", "activation": "relu"},
    {"filters": 5, "kernel_size": 7, "strides": 2, "padding": "same"},
    {"filters": 5, "kernel_size": (1, 3), "activation": "relu6"},
]


def pair(settings, dtype="float32"):
    """Ours and Keras's, on the same weights."""
    ours = Convolution(**settings, dtype=dtype)
    theirs = keras.layers.Conv2D(**settings, dtype=dtype)
    for layer in (ours, theirs):
        layer.build((None, 9, 8, 4))
    numbers = np.random.default_rng(0)
    weights = [numbers.normal(0, 1, w.shape) for w in ours.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def images(batch=3):
    numbers = np.random.default_rng(1).normal(0, 2, (batch, 9, 8, 4))
    return tf.constant(numbers, tf.float32)


def with_gradients(layer, x, training=True, signature=None):
    """Output, and gradients of x, kernel and bias, of a weighted sum of outputs."""

    @tf.function(input_signature=signature)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **({"training": True} if training else {}))
            shape = tf.cast(tf.shape(y), tf.int64)
            numbers = tf.random.stateless_normal(shape, (1, 2))
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * numbers)
        variables = [layer.kernel.value, layer.bias.value]
        return [y, *tape.gradient(loss, [x, *variables])]

    return [np.asarray(tf.cast(value, tf.float32)) for value in run(x)]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
def test_equals_keras_conv2d(settings, dtype):
    ours, theirs = pair(settings, dtype)
    step = 0.0 if dtype == "mixed_bfloat16" else 2e-6  # there it is Keras's own
    expected = with_gradients(theirs, images(), training=False)
    for training in (False, True):
        for a, b in zip(
            with_gradients(ours, images(), training), expected, strict=True
        ):
            assert np.abs(b).max() > 0
            assert np.abs(a - b).max() <= step * np.abs(b).max()


def test_kernel_and_bias_by_naive_loops():
    layer, _ = pair({"filters": 5, "kernel_size": 1, "activation": "relu"})
    x = images()
    y, of_x, of_kernel, of_bias = with_gradients(layer, x)
    up = tf.random.stateless_normal(y.shape, (1, 2)).numpy()
    kernel, bias = (w.numpy() for w in layer.weights)
    expected = [np.zeros_like(t) for t in (y, of_x, of_kernel, of_bias)]
    for place in np.ndindex(*y.shape[:3]):
        value = x.numpy()[place] @ kernel[0, 0] + bias
        expected[0][place] = np.maximum(value, 0)
        slope = up[place] * (value > 0)
        expected[1][place] = kernel[0, 0] @ slope
        expected[2][0, 0] += np.outer(x.numpy()[place], slope)
        expected[3] += slope
    for a, b in zip((y, of_x, of_kernel, of_bias), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_batch_of_unknown_size():
    ours, theirs = pair(SETTINGS[0])
    spec = [tf.TensorSpec((None, 9, 8, 4))]
    found = with_gradients(ours, images(2), signature=spec)
    expected = with_gradients(theirs, images(2), training=False)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_bias_and_kernel_gradients_stay_apart_unless_switched_off():
    ours, _ = pair(SETTINGS[0])
    keras.Sequential([keras.Input((9, 8, 4)), ours])  # which builds it
    spec = tf.TensorSpec((2, 9, 8, 4))

    def operations(training):
        def run(x):
            with tf.GradientTape() as tape:
                y = ours(x, training=training)
            return tape.gradient(y, [ours.kernel.value, ours.bias.value])

        graph = tf.function(run).get_concrete_function(spec).graph
        return {operation.type for operation in graph.get_operations()}

    plain = {"BiasAddGrad", "Conv2DBackpropFilter"}
    assert not operations(training=True) & plain
    assert operations(training=False) >= plain
    ours.cpu_gradients = False
    assert operations(training=True) >= plain


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"activation": "gelu"}, "activation='gelu': use None, 'relu' or 'relu6'"),
        ({"use_bias": False}, "use Conv2D"),
        ({"groups": 2}, "use Conv2D"),
        ({"dilation_rate": 2}, "use Conv2D"),
        ({"data_format": "channels_first"}, "use 'channels_last'"),
    ],
)
def test_what_it_is_not_for(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Convolution(4, 3, **wrong)


@pytest.mark.parametrize("made", [Convolution, NormedConvolution])
@pytest.mark.parametrize("gpus", [[], ["a GPU"]])
def test_the_gradients_made_for_the_cpu_are_for_it(made, gpus, monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: gpus)
    assert made(4, 3, padding="same").cpu_gradients == (not gpus)
