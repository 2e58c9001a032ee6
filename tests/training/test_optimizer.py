import json
from typing import Any

import clipped_replicas
import keras
import numpy as np
import pytest
from forks import Fork

from deml_tf.layers.channel_attention import ChannelAttention
from deml_tf.training.optimizer import GroupedAdam


def variables():
    random = np.random.default_rng(0)
    kernel = keras.Variable(random.normal(size=(3, 2)), name="kernel")
    head = keras.Variable(random.normal(size=(2, 2)), name="head_kernel")
    bias = keras.Variable(random.normal(size=(2,)), name="bias")
    return [kernel, head, bias]


def naive(values, gradients, rates, decays, clip, steps, shares=(0, 0, 0)):
    """Adam as in Kingma & Ba, with L2 in the gradient and clipping before it.

    Of its variables each step takes a share off, as in Loshchilov & Hutter.
    """
    first = [np.zeros_like(v) for v in values]
    second = [np.zeros_like(v) for v in values]
    for t in range(1, steps + 1):
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        factor = min(1.0, clip / norm) if clip else 1.0
        for n, value in enumerate(values):
            g = gradients[n] * factor + decays[n] * value
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = 0.999 * second[n] + 0.001 * g**2
            unbiased = first[n] / (1 - 0.9**t), second[n] / (1 - 0.999**t)
            change = unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8) + shares[n] * value
            values[n] = value - rates[n] * change
    return values


@pytest.mark.parametrize("weight_decay", [None, 0.7])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_against_the_formula(clip, weight_decay):
    trained = variables()
    random = np.random.default_rng(1)
    gradients = [random.normal(size=v.shape).astype("float32") for v in trained]
    expected = naive(
        [v.numpy().astype("float64") for v in trained],
        gradients,
        rates=[0.01, 0.1, 0.02],
        decays=[0.3, 0.3, 0.0],
        clip=clip,
        steps=3,
        shares=[weight_decay or 0, weight_decay or 0, 0],
    )
    optimizer: Any = GroupedAdam(
        0.01,
        {"head": 10.0, "bias": 2.0},
        l2=0.3,
        weight_decay=weight_decay,
        epsilon=1e-8,
        global_clipnorm=clip,
    )
    optimizer.build(trained)
    for _ in range(3):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], trained)
    for variable, value in zip(trained, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.3},
        # Squares are forgotten faster than the gradients shrink.
        {"amsgrad": True, "beta_2": 0.1},
    ],
)
def test_keras_itself_decays_alike(arguments):
    """Without groups, norms and biases, it is the AdamW of Keras."""
    found = []
    kind: Any
    for kind in (GroupedAdam, keras.optimizers.AdamW):
        kernel = variables()[0]
        optimizer = kind(0.01, weight_decay=0.4, **arguments)
        optimizer.build([kernel])
        for n in (1, 2, 3):
            optimizer.apply([keras.ops.sin(kernel) / n], [kernel])
        found.append(kernel.numpy())
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert np.abs(found[0] - variables()[0].numpy()).min() > 1e-3


def test_weights_with_their_own_l2_have_no_weight_decay():
    optimizer = GroupedAdam(0.1, weight_decay=0.2, own_l2={"head": 0.0})
    optimizer.build(variables())
    assert optimizer._weight_decays == [0.2, 0.0, 0.0]


def test_what_keras_is_told_to_exclude_does_not_decay():
    optimizer: Any = GroupedAdam(1e-4, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["head"])
    optimizer.build(variables())
    assert optimizer._weight_decays == [0.1, 0.0, 0.0]


def test_first_matching_group_counts_and_config_returns():
    optimizer = GroupedAdam(0.1, {"head_kernel": 5.0, "kernel": 3.0}, l2=1e-3)
    again = GroupedAdam.from_config(optimizer.get_config())
    again.build(variables())
    assert again._rates == [3.0, 5.0, 1.0]
    assert again._decays == [1e-3, 1e-3, 0.0]


def test_biases_of_attention_heads_do_not_decay():
    attention = keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 4, 6), (None, 4, 6))
    trained = attention.trainable_variables
    optimizer = GroupedAdam(0.1, l2=1e-3)
    optimizer.build(trained)
    ranks = {len(v.shape) for v in trained if v.name == "bias"}
    assert ranks == {1, 2}
    assert optimizer._decays == [0.0 if v.name == "bias" else 1e-3 for v in trained]


def test_biases_of_gates_do_not_decay():
    gates = ChannelAttention(3)
    gates.build((None, 4, 4, 16))
    optimizer = GroupedAdam(0.1, l2=1e-3)
    optimizer.build(gates.trainable_variables)
    decays = dict(
        zip((v.name for v in gates.trainable_variables), optimizer._decays, strict=True)
    )
    assert decays == {
        "hidden_kernel": 1e-3,
        "hidden_bias": 0.0,
        "gate_kernel": 1e-3,
        "gate_bias": 0.0,
    }


def test_vectors_of_norms_do_not_decay():
    norm = keras.layers.BatchNormalization()
    norm.build((None, 4))
    optimizer = GroupedAdam(0.1, l2=1e-3, weight_decay=0.1)
    optimizer.build(norm.trainable_variables)
    assert [v.name for v in norm.trainable_variables] == ["gamma", "beta"]
    assert optimizer._decays == optimizer._weight_decays == [0.0, 0.0]


@pytest.mark.parametrize("clip", [None, 0.5])
def test_variables_of_several_types_are_updated_as_those_of_one(clip):
    def after(types):
        values = [np.array([1.0, 2.0]), np.array([-3.0])]
        trained = [
            keras.Variable(value, dtype=dtype, name=f"v{n}")
            for n, (value, dtype) in enumerate(zip(values, types, strict=True))
        ]
        optimizer: Any = GroupedAdam(0.1, global_clipnorm=clip)
        optimizer.build(trained)
        gradients = [np.array([0.3, 0.5]), np.array([-4.0])]
        optimizer.apply(
            [
                keras.ops.cast(gradient, dtype)
                for gradient, dtype in zip(gradients, types, strict=True)
            ],
            trained,
        )
        assert [v.dtype for v in trained] == list(types)
        return np.concatenate([v.numpy() for v in trained])

    one = after(("float64", "float64"))
    np.testing.assert_allclose(after(("float64", "float32")), one, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("clip", [None, 0.5])
def test_variables_without_a_gradient_are_left_alone(clip):
    """As Keras's optimizers leave them: of an output without a loss, say."""

    def after(gradients):
        values = ([1.0, 2.0], [5.0], [-3.0])
        trained = [keras.Variable(value, dtype="float32") for value in values]
        optimizer: Any = GroupedAdam(0.1, global_clipnorm=clip)
        optimizer.build(trained)
        optimizer.apply_gradients(zip(gradients, trained, strict=True))
        return [v.numpy() for v in trained]

    first, last = keras.ops.array([0.3, 0.5]), keras.ops.array([-4.0])
    found = after([first, None, last])
    assert found[1] == 5.0
    wanted = after([first, keras.ops.array([0.0]), last])
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(wanted))


@pytest.mark.slow
def test_a_scaled_loss_is_clipped_alike_on_two_replicas():
    process = Fork(clipped_replicas.main)
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-4000:]
    found = json.loads(output.splitlines()[-1])
    sums = keras.ops.array(np.sum(clipped_replicas.GRADIENTS, axis=0), "float32")
    assert len(found) == 6
    for case, values in found.items():
        weight = keras.Variable(clipped_replicas.START, dtype="float32")
        clipped_replicas.optimizer(case.split()[0]).apply([sums], [weight])
        np.testing.assert_allclose(values, weight.numpy(), rtol=1e-6, err_msg=case)
