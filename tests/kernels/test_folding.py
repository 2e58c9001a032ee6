import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.backbones.backbone import build_backbone
from deml_tf.kernels.compiled import compiled_parts
from deml_tf.kernels.folding import FoldedWeights
from deml_tf.retrieval.scoring import inference


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


def plain(model, images):
    @tf.function(autograph=False)
    def forward(images):
        with compiled_parts():
            return model(images, training=False)

    return forward(images).numpy()


IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype("f4")


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["efficientnet_lite0", "googlenet"])
def test_folded_before_is_folded_within_bit_for_bit(name, dtype):
    model = network(name, dtype)
    assert FoldedWeights(model).layers
    expected = plain(model, IMAGES)
    found = inference(model)()(IMAGES).numpy()
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(found, expected)


def test_each_pass_sees_the_weights_of_its_beginning():
    model = network()
    begin = inference(model)
    forward = begin()
    before = forward(IMAGES).numpy()
    for layer in FoldedWeights(model).layers:
        layer.norm.gamma.assign(1.5 * layer.norm.gamma)
    np.testing.assert_array_equal(forward(IMAGES), before)
    after = begin()(IMAGES).numpy()
    np.testing.assert_array_equal(after, plain(model, IMAGES))
    assert np.abs(after - before).max() > 1e-3 * np.abs(before).max()


def test_layers_are_found_in_models_in_models_once():
    model = network()
    images = keras.Input((64, 64, 3))
    outer = keras.Model(images, model(images))
    layers = FoldedWeights(outer, model).layers
    assert len(layers) == len({id(layer) for layer in layers}) == 49
    assert FoldedWeights(keras.Model(images, 2 * images)).layers == []
