import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.backbones import build_backbone
from deml_tf.kernels.inference_twin import inference_twins
from deml_tf.kernels.layers_within import layers_within
from deml_tf.kernels.normed_convolution import NormedConvolution

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype("f4")


@functools.cache  # tests may move its weights: each compares with them as they are
def network(name="efficientnet_lite0", dtype="float32"):
    """Both pieces one after the other, with norms that are not as they start."""
    settings = {"input_size": 64, "width": 0.25, "prefix": "b_", "dtype": dtype}
    backbone = build_backbone(name, weights="none", **settings)
    numbers = np.random.default_rng(1)
    for norm in backbone.norms():
        for variable in norm.weights:
            variable.assign(numbers.uniform(0.5, 1.5, variable.shape))
    images = keras.Input((64, 64, 3))
    return keras.Model(images, backbone.upper(backbone.lower(images))[1])


def forward(model):
    return tf.function(lambda images: model(images, training=False), autograph=False)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "googlenet"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_folded_before_is_folded_within_bit_for_bit(name, dtype):
    model = network(name, dtype)
    (twin,), _ = inference_twins(model, compiled=False)
    expected = forward(model)(IMAGES).numpy()
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(forward(twin)(IMAGES), expected)


def test_compiled_it_holds_no_plain_response_norm_and_agrees():
    model = network("googlenet")
    (twin,), _ = inference_twins(model, compiled=True)
    function, expected = forward(twin), forward(model)(IMAGES).numpy()
    operations = function.get_concrete_function(IMAGES).graph.get_operations()
    assert "LRN" not in {operation.type for operation in operations}
    step = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(function(IMAGES), expected, rtol=0, atol=step)


def test_it_keeps_its_weights_until_they_are_taken_anew():
    model = network()
    (twin,), update = inference_twins(model, compiled=False)
    function, before = forward(twin), forward(model)(IMAGES).numpy()
    norms = [x.norm for x in layers_within(model) if isinstance(x, NormedConvolution)]
    assert len(norms) == 49
    for norm in norms:
        norm.gamma.assign(1.5 * norm.gamma)
    np.testing.assert_array_equal(function(IMAGES), before)
    update()
    after = function(IMAGES).numpy()
    np.testing.assert_array_equal(after, forward(model)(IMAGES))
    assert np.abs(after - before).max() > 1e-3 * np.abs(before).max()


def test_models_in_models_share_what_they_shared():
    images = keras.Input((16, 16, 3))
    inner = keras.Model(images, NormedConvolution(4, 3, name="shared")(images))
    dense = keras.layers.Dense(2)
    middle = keras.Sequential([keras.Input((16, 16, 3)), inner, dense])
    outer = keras.Model(images, [middle(images), inner(images)])
    plain = keras.Model(images, dense(keras.layers.Conv2D(4, 1)(images)))
    (one, two, three), _ = inference_twins(outer, inner, plain, compiled=True)
    assert three is plain
    held = {id(v) for v in one.variables}
    assert {id(v) for v in two.variables} < held
    # A folded kernel and bias, and what Dense has.
    assert len(held) == 4
    assert {id(v) for v in dense.variables} < held
    assert not {id(v) for v in inner.variables} & held
    x = np.random.default_rng(2).normal(0, 1, (2, 16, 16, 3)).astype("f4")
    for found, expected in zip(one(x), outer(x), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_model_is_saved_as_before(tmp_path):
    model = network()
    before = model.get_config()
    inference_twins(model, compiled=True)
    assert model.get_config() == before
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
