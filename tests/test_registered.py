"""Each class that Keras is told of: public, its config whole, saved and loaded."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import deml_tf
from deml_tf import layers, losses
from deml_tf.backbones.multi_head_attention import MultiHeadAttention
from deml_tf.backbones.patch_tokens import PatchTokens
from deml_tf.backbones.rotary_attention import RotaryAttention

ROOT = Path(__file__).resolve().parent.parent

MINE: Any = {"pairs": "replica", "reduction": "sum", "name": "mine"}
# One of each class we register: arguments off their defaults, and shapes it takes.
REGISTERED = {
    "Adversary": (
        deml_tf.Adversary(num_learners=3, part_dim=4, hidden=5),
        [(3, 4)],
    ),
    "ChannelAttention": (
        layers.ChannelAttention(2, reduction=4, hidden=3, pooled=True, bias=1.5),
        [(5, 6, 8)],
    ),
    "Convolution": (
        layers.Convolution(
            3,
            (3, 2),
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            bias_initializer="ones",
        ),
        [(9, 9, 4)],
    ),
    "FixedRegion": (
        layers.FixedRegion(side=0.5, centre_y=0.3, centre_x=0.6, resolution=80),
        [(5, 6, 8)],
    ),
    "GradientReversal": (layers.GradientReversal(scale=0.5), [(6,)]),
    "MultiHeadAttention": (MultiHeadAttention(2, 3, use_bias=False), [(7, 5), (7, 5)]),
    "NormedConvolution": (
        layers.NormedConvolution(
            None,
            3,
            padding="valid",
            dilation_rate=2,
            relu6=False,
            momentum=0.9,
            epsilon=0.1,
            kernel_initializer="he_normal",
            frozen=True,
            synchronized=True,
        ),
        [(9, 9, 4)],
    ),
    "ObjectAttention": (
        layers.ObjectAttention(
            steps=3,
            epsilon=0.2,
            border="clip",
            prior_correction=True,
            multi_layer=True,
            threshold=0.6,
            resolution=80,
        ),
        [(5, 6, 8), (9, 9, 4)],
    ),
    "PatchTokens": (PatchTokens(extra_tokens=2, positions=False), [(3, 4, 8)]),
    "Prepare": (layers.Prepare(20, 16, fit="pad"), [(None, None, 3)]),
    "Projection": (
        layers.Projection(7, shared=False, kernel_initializer="he_normal"),
        [(2, 6)],
    ),
    "RandomRegion": (
        layers.RandomRegion(side=0.5, seed=3, resolution=80),
        [(5, 6, 8)],
    ),
    "ResponseNorm": (
        layers.ResponseNorm(radius=1, alpha=1e-2, beta=0.5, bias=2.0),
        [(4, 4, 6)],
    ),
    "RestoreBoxes": (
        layers.RestoreBoxes(20, 16, fit="pad"),
        [(2, 4), (None, None, 3)],
    ),
    "SeparationRegion": (
        layers.SeparationRegion(
            sharpness=9.0,
            margin=1.2,
            smallest=0.3,
            least=0.1,
            grid=9,
            multi_layer=False,
            learned=True,
            resolution=80,
        ),
        [(5, 6, 8)],
    ),
    "RotaryAttention": (
        RotaryAttention(2, 8, grid=(2, 3), extra_tokens=1, theta=50.0, use_bias=False),
        [(7, 5), (7, 5)],
    ),
    "Zoom": (layers.Zoom(size=11), [(8, 9, 3), (4,)]),
    "BinomialDeviance": (
        losses.BinomialDeviance(
            3.0, 0.25, 2.0, 25.0, pairs="replica", reduction="sum", name="deviance"
        ),
        None,
    ),
    "Contrastive": (
        losses.Contrastive(
            0.5, 0.1, False, "active", pairs="replica", reduction="sum", name="mine"
        ),
        None,
    ),
    "Triplet": (
        losses.Triplet(
            0.2, "all", True, True, pairs="replica", reduction="sum", name="mine"
        ),
        None,
    ),
    "ArcFace": (losses.ArcFace(5, 0.25, 32.0, 3.0, 0.1), None),
    "CosFace": (losses.CosFace(5, 0.25, 32.0, 3.0, 0.1), None),
    "NormalisedSoftmax": (losses.NormalisedSoftmax(5, 0.25, 3.0, 0.1), None),
    "ProxyAnchor": (losses.ProxyAnchor(5, 0.25, 16.0, "replica", 3.0, 0.1), None),
    "ProxyNCA": (losses.ProxyNCA(5, 4.0, 3.0, 0.1), None),
    "ProxyNCAPP": (losses.ProxyNCAPP(5, 0.25, 3.0, 0.1), None),
    "SoftTriple": (losses.SoftTriple(5, 3, 10.0, 0.2, 0.02, 0.5, 3.0, 0.1), None),
    "LiftedStructure": (
        losses.LiftedStructure(
            0.5, True, pairs="replica", reduction="sum", name="mine"
        ),
        None,
    ),
    "NPairs": (losses.NPairs(0.1, pairs="replica", reduction="sum", name="mine"), None),
    "Angular": (
        losses.Angular(45.0, pairs="replica", reduction="sum", name="mine"),
        None,
    ),
    "SNR": (
        losses.SNR(
            0.5,
            0.1,
            "active",
            0.2,
            False,
            pairs="replica",
            reduction="sum",
            name="mine",
        ),
        None,
    ),
    "Margin": (losses.Margin(5, 0.3, 1.1, True, "all", 0.1, "replica", 3.0, 0.1), None),
    "Circle": (losses.Circle(0.25, 256.0, **MINE), None),
    "MultiSimilarity": (
        losses.MultiSimilarity(3.0, 40.0, 0.25, 0.2, False, **MINE),
        None,
    ),
    "SmoothAP": (losses.SmoothAP(0.1, **MINE), None),
    "SupervisedContrastive": (losses.SupervisedContrastive(0.5, **MINE), None),
    "CrossBatchMemory": (
        losses.CrossBatchMemory(losses.Triplet(0.2, **MINE), 12, 0.5, 3),
        None,
    ),
    "GroupedAdam": (
        deml_tf.GroupedAdam(
            1e-2, multipliers={"bias": 2.0}, l2=0.1, weight_decay=0.2, beta_1=0.8
        ),
        None,
    ),
}
LAYERS = [name for name, (_, shapes) in REGISTERED.items() if shapes]


def classes_in_the_sources():
    """Names of the classes decorated for registration, read without importing."""
    for path in (ROOT / "deml_tf").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and "register_keras" in " ".join(
                map(ast.unparse, node.decorator_list)
            ):
                yield node.name


def test_every_class_is_known_to_these_tests_and_public():
    assert set(classes_in_the_sources()) == set(REGISTERED)
    for name, (example, _) in REGISTERED.items():
        assert type(example).__name__ == name
        assert keras.saving.get_registered_name(type(example)) == f"deml_tf>{name}"
        assert inspect.getdoc(type(example))
    places = (deml_tf, deml_tf.layers, deml_tf.losses)
    exported = {name for place in places for name in place.__all__}
    # Of no use by themselves.
    unexported = {"MultiHeadAttention", "PatchTokens", "RotaryAttention"}
    assert set(REGISTERED) - exported == unexported
    for place in places:
        for name in place.__all__:
            assert hasattr(place, name)


@pytest.mark.parametrize("name", REGISTERED)
def test_configs_go_round(name):
    example, _ = REGISTERED[name]
    config = json.loads(json.dumps(example.get_config()))
    again = type(example).from_config(config)
    assert type(again) is type(example)
    assert json.loads(json.dumps(again.get_config())) == config
    if name == "MultiHeadAttention":
        return  # the arguments are Keras's
    signature = inspect.signature(type(example))
    own = set(signature.parameters) - {"kwargs", "dtype"}
    assert own <= set(config)
    defaults = {n: p.default for n, p in signature.parameters.items()}
    # Strides are 1 where a convolution is dilated.
    for argument in own - {"kernel_initializer", "strides"}:
        assert config[argument] != defaults[argument]  # or nothing was tested


@pytest.mark.parametrize("name", LAYERS)
def test_layers_in_a_model_that_is_saved(name, tmp_path):
    example, shapes = REGISTERED[name]
    layer = type(example).from_config(example.get_config())
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, layer(*inputs))
    path = tmp_path / "model.keras"
    model.save(path)
    loaded: Any = keras.saving.load_model(path, safe_mode=True)
    values = [
        np.random.default_rng(n).uniform(size=(2, *(s or 13 for s in shape)))
        for n, shape in enumerate(shapes)
    ]
    expected, found = model(values), loaded(values)
    for a, b in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_compiled_model_goes_on_where_it_was_saved(tmp_path):
    """Loss, optimizer and the optimizer's state."""
    x, labels = (
        np.random.default_rng(0).uniform(size=(8, 6)),
        np.repeat(np.arange(4), 2),
    )
    model: Any = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    optimizer, loss = (
        type(example).from_config(example.get_config())
        for example in (REGISTERED["GroupedAdam"][0], REGISTERED["BinomialDeviance"][0])
    )
    model.compile(optimizer, loss)
    model.fit(x, labels, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config()
    assert loaded.optimizer.get_config() == optimizer.get_config()
    losses = [
        m.fit(x, labels, shuffle=False, verbose=0).history["loss"]
        for m in (model, loaded)
    ]
    assert losses[0] == losses[1]
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
