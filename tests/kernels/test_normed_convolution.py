import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.kernels.depthwise_convolution import depthwise_convolution
from deml_tf.kernels.normed_convolution import NormedConvolution

SETTINGS = [
    {"filters": 6, "kernel_size": 3},
    {"filters": 6, "kernel_size": 1, "relu6": False},
    {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "valid"},
    {"filters": None, "kernel_size": 3, "strides": 2},
    {"filters": None, "kernel_size": 5},
    {"filters": None, "kernel_size": 5, "padding": "valid", "relu6": False},
    {"filters": None, "kernel_size": 5, "strides": 2},
    {"filters": None, "kernel_size": 3, "dilation_rate": 2},
]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 2, shape).astype("f4")


def layer_of(settings, policy="float32", frozen=True):
    keras.utils.set_random_seed(0)
    layer = NormedConvolution(**settings, dtype=policy, name="layer")
    layer.build((None, 8, 8, 4))
    numbers = np.random.default_rng(1)
    for variable in layer.norm.weights:
        variable.assign(numbers.uniform(0.5, 1.5, variable.shape))
    layer.norm.trainable = not frozen
    return layer


def separate(layer, x, training):
    """One after the other, as three layers of Keras's."""
    y = layer.norm(layer.convolution(x), training=training)
    return keras.ops.relu6(y) if layer.relu6 else y


def with_gradients(function, layer, x, training=True):
    """Output, and gradients of x and of the kernel."""
    x = tf.constant(x)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, training=training)
            loss = tf.reduce_sum(
                tf.cast(y, tf.float32) * tf.constant(noise(*y.shape, seed=2))
            )
        return [y, *tape.gradient(loss, [x, layer.convolution.kernel.value])]

    return [tf.cast(value, tf.float32).numpy() for value in run()]


def assert_close(found, expected, step):
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() <= step * np.abs(b).max()


@pytest.mark.parametrize("cpu_gradients", [True, False])
@pytest.mark.parametrize("settings", SETTINGS)
def test_frozen_equals_its_layers_one_by_one(settings, cpu_gradients):
    layer, x = layer_of(settings), noise(3, 8, 8, 4)
    layer.cpu_gradients = cpu_gradients
    found = with_gradients(layer, layer, x)
    expected = with_gradients(
        lambda x, training: separate(layer, x, training), layer, x
    )
    assert_close(found, expected, 2e-6)
    still = with_gradients(layer, layer, x, training=False)
    assert_close(still, expected, 2e-6)


@pytest.mark.parametrize("settings", SETTINGS)
def test_trained_norms_see_the_batch_and_move(settings):
    layer, x = layer_of(settings, frozen=False), noise(3, 8, 8, 4)
    twin = layer_of(settings, frozen=False)
    twin.set_weights(layer.get_weights())
    found = with_gradients(layer, layer, x)
    before = twin.norm.moving_mean.numpy()
    expected = with_gradients(lambda x, training: separate(twin, x, training), twin, x)
    assert_close(found, expected, 1e-5)
    np.testing.assert_allclose(layer.norm.moving_mean, twin.norm.moving_mean, rtol=1e-5)
    assert np.abs(layer.norm.moving_mean - before).max() > 0.01
    # And what inference folds is what it has become.
    np.testing.assert_allclose(layer(x), separate(layer, x, False), atol=2e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_bfloat16_rounds_no_more_than_its_layers(settings):
    """Against float32: the folded one is no further off than the three layers are.

    Without the clipping, on whose edges rounding decides.
    """
    settings = settings | {"relu6": False}
    x = np.asarray(tf.cast(tf.cast(noise(3, 8, 8, 4), tf.bfloat16), tf.float32))
    exact, layer = layer_of(settings), layer_of(settings, "mixed_bfloat16")
    layer.set_weights(exact.get_weights())
    expected = with_gradients(exact, exact, x)
    found = with_gradients(layer, layer, x)
    apart = with_gradients(lambda x, training: separate(layer, x, training), layer, x)

    def error(values):
        return [
            np.linalg.norm(a - b) / np.linalg.norm(b)
            for a, b in zip(values, expected, strict=True)
        ]

    assert np.max(error(found)) < 0.02
    for ours, theirs in zip(error(found), error(apart), strict=True):
        assert ours < 1.5 * theirs


def test_what_is_not_trainable_is_frozen_whole():
    layer = NormedConvolution(4, 3, trainable=False)
    layer(noise(3, 8, 8, 4), training=True)
    assert layer.trainable_variables == layer.norm.trainable_variables == []
    np.testing.assert_array_equal(layer.norm.moving_mean, np.zeros(4))


def test_frozen_it_is_one_convolution():
    layer = layer_of({"filters": 6, "kernel_size": 3})
    spec = tf.TensorSpec((2, 8, 8, 4))
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(spec)
    image = [
        o.type
        for o in graph.graph.get_operations()
        if any(t.shape.rank == 4 and t.shape[0] == 2 for t in o.outputs)
        and not o.type.startswith("Identity")
    ]
    assert image == ["Placeholder", "Conv2D", "BiasAdd", "Relu6"]


def naive_kernel_gradient(x, upstream, side, stride, before):
    gradient = np.zeros((side, side, x.shape[-1], 1))
    high, wide = x.shape[1:3]
    for b, i, j in np.ndindex(upstream.shape[:3]):
        for row, column in np.ndindex(side, side):
            y, z = i * stride + row - before, j * stride + column - before
            if 0 <= y < high and 0 <= z < wide:
                gradient[row, column, :, 0] += x[b, y, z] * upstream[b, i, j]
    return gradient


@pytest.mark.parametrize(
    ("side", "stride", "padding", "before", "out"),
    [
        (3, 1, "SAME", 1, (6, 7)),
        (3, 2, "VALID", 0, (2, 3)),
        (5, 1, "SAME", 2, (6, 7)),
        (5, 1, "VALID", 0, (2, 3)),
        (4, 1, "SAME", 1, (6, 7)),
        (6, 1, "SAME", 2, (6, 7)),
    ],
)
def test_kernel_gradient(side, stride, padding, before, out):
    x, kernel = noise(2, 6, 7, 3), noise(side, side, 3, 1, seed=3)
    upstream = noise(2, *out, 3, seed=4)
    with tf.GradientTape() as tape:
        kernel = tf.constant(kernel)
        tape.watch(kernel)
        y = depthwise_convolution(tf.constant(x), kernel, [stride] * 2, padding, [1, 1])
    found = tape.gradient(y, kernel, tf.constant(upstream))
    expected = naive_kernel_gradient(x, upstream, side, stride, before)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(None, 6, 6, 4), (None, None, None, 4)])
def test_a_batch_of_unknown_size(shape):
    kernel = tf.Variable(noise(5, 5, 4, 1))

    @tf.function(input_signature=[tf.TensorSpec(shape)])
    def run(x):
        with tf.GradientTape() as tape:
            y = depthwise_convolution(x, kernel, [1, 1], "SAME", [1, 1])
        return tape.gradient(y, kernel, y)

    x = tf.constant(noise(3, 6, 6, 4))
    with tf.GradientTape() as tape:
        y = tf.nn.depthwise_conv2d(x, kernel, [1] * 4, "SAME")
    expected = tape.gradient(y, kernel, y)
    np.testing.assert_allclose(run(x), expected, rtol=1e-4, atol=1e-3)
