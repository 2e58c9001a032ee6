import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.channel_attention import ChannelAttention


def features(b=2, h=3, w=4, c=16, seed=0):
    return np.random.default_rng(seed).normal(size=(b, h, w, c)).astype("float32")


def built(seed=1, **arguments):
    layer = ChannelAttention(3, **arguments)
    layer.build((None, 3, 4, 16))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize("pooled", [False, True])
def test_gates_equal_naive_loops(pooled):
    layer, maps = built(pooled=pooled), features()
    hidden_kernel, hidden_bias, gate_kernel, gate_bias = layer.get_weights()
    gates, attended = layer.gates(maps).numpy(), layer(maps).numpy()
    assert gates.shape == ((2, 3, 1, 1, 16) if pooled else (2, 3, 3, 4, 16))
    assert attended.shape == (2, 3, 3, 4, 16)
    for b in range(2):
        for j in range(3):
            for y in range(3):
                for x in range(4):
                    u = maps[b].mean((0, 1)) if pooled else maps[b, y, x]
                    hidden = np.maximum(0, u @ hidden_kernel[:, j] + hidden_bias[j])
                    gate = hidden @ gate_kernel[j] + gate_bias[j]
                    gate = 1 / (1 + np.exp(-gate.astype("float64")))
                    place = (b, j, 0, 0) if pooled else (b, j, y, x)
                    np.testing.assert_allclose(gates[place], gate, atol=2e-5)
                    np.testing.assert_allclose(
                        attended[b, j, y, x], gate * maps[b, y, x], atol=1e-4
                    )


def test_learners_share_no_weight():
    layer, maps = built(), features()
    before = layer(maps).numpy()
    for weight, learner_axis in zip(layer.weights, (1, 0, 0, 0), strict=True):
        values = np.moveaxis(weight.numpy().copy(), learner_axis, 0)
        values[1] += 1
        weight.assign(np.moveaxis(values, 0, learner_axis))
    after = layer(maps).numpy()
    np.testing.assert_array_equal(before[:, [0, 2]], after[:, [0, 2]])
    assert np.abs(before[:, 1] - after[:, 1]).max() > 0.01


@pytest.mark.parametrize(
    ("channels", "arguments", "hidden"),
    [(512, {}, 64), (480, {"hidden": 64}, 64), (96, {"reduction": 4}, 24), (4, {}, 1)],
)
def test_sizes_and_start(channels, arguments, hidden):
    layer = ChannelAttention(2, **arguments)
    layer.build((None, 7, 7, channels))
    assert [tuple(weight.shape) for weight in layer.weights] == [
        (channels, 2, hidden),
        (2, hidden),
        (2, hidden, channels),
        (2, channels),
    ]
    limit = np.sqrt(6 / (channels + hidden))
    for kernel in (layer.hidden_kernel, layer.gate_kernel):
        largest = np.abs(kernel).max()
        assert largest <= limit
        if hidden > 1:
            assert largest > 0.97 * limit
    assert not np.any(layer.hidden_bias) and not np.any(layer.gate_bias)


@pytest.mark.parametrize(("bias", "start"), [(0.0, 0.5), (3.0, 0.9526)])
def test_gates_start_where_the_bias_says(bias, start):
    layer = ChannelAttention(2, bias=bias)
    layer.build((None, 3, 4, 16))
    gates = layer.gates(np.zeros((1, 3, 4, 16), "float32"))
    np.testing.assert_allclose(gates, start, atol=1e-4)


def test_mixed_precision_obeys_its_policy():
    exact, mixed = built(), built(dtype="mixed_bfloat16")
    found = mixed(features())
    assert found.dtype == tf.bfloat16
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    np.testing.assert_allclose(tf.cast(found, tf.float32), exact(features()), atol=0.15)
    gates = mixed.gates(tf.cast(features(), tf.bfloat16))
    assert gates.dtype == tf.bfloat16
    np.testing.assert_array_equal(gates * features()[:, None], found)


def test_every_weight_learns_and_xla_agrees():
    layer, maps = built(), tf.constant(features())
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(layer(maps) ** 2)
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.any(gradient)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(maps), layer(maps), atol=1e-5)


def test_it_saves_and_loads(tmp_path):
    inputs = keras.Input((3, 4, 16))
    arguments = {"reduction": 4, "hidden": 5, "pooled": True, "bias": 1.5}
    layer = ChannelAttention(3, name="gates", **arguments)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 3, 3, 4, 16)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    config = loaded.get_layer("gates").get_config()
    assert {name: config[name] for name in arguments} == arguments
    np.testing.assert_array_equal(loaded(features()), model(features()))


@pytest.mark.parametrize("name", ["num_learners", "reduction", "hidden"])
def test_wrong_arguments_are_named(name):
    with pytest.raises(UsageError, match=f"{name}=0"):
        ChannelAttention(**{"num_learners": 1, name: 0})
