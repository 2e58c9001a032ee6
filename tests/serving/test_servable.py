import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.kernels.layers_within import layers_within
from deml_tf.serving import servable as module
from deml_tf.serving.servable import Servable


@pytest.mark.parametrize("precision, scales", [("float32", 2), ("bfloat16", 1)])
def test_folds_in_no_request(precision, scales, monkeypatch):
    embedder = build_tiny(scales=scales, learners=1, precision=precision)
    numbers = np.random.default_rng(0)
    for layer in layers_within(embedder):
        for variable in layer.norm.weights if hasattr(layer, "norm") else ():
            variable.assign(numbers.uniform(0.5, 1.5, variable.shape))
    images = tf.constant(numbers.uniform(0, 255, (2, 48, 48, 3)), tf.float32)
    with monkeypatch.context() as patch:
        patch.setattr(module, "inference_twins", lambda *models, **_: (models, None))
        servable = Servable(embedder, range(scales), (0,))
        expected = servable.signatures["images_float"](images)["embedding"]
    servable = Servable(embedder, range(scales), (0,))
    found = servable.signatures["images_float"](images)["embedding"]
    np.testing.assert_array_equal(found, expected)

    read = {
        id(variable): variable
        for function in servable.signatures.values()
        for variable in function.get_concrete_function().graph.variables
    }
    assert {id(variable) for variable in servable.kept_variables()} == read.keys()
    of_norms = [v.name for v in read.values() if "moving" in v.name]
    assert not of_norms


@pytest.mark.parametrize(
    "signature, dtype", [("images", "uint8"), ("images_float", "float32")]
)
@pytest.mark.parametrize("shape", [(0, 0), (0, 40), (40, 0)])
@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_images_without_pixels_are_not_valid(signature, dtype, shape, fit, tiny):
    servable = Servable(tiny(scales=1, learners=1, fit=fit), (0,), (0,))
    found = servable.signatures[signature](tf.zeros((2, *shape, 3), dtype))
    assert not any(value.numpy().any() for value in found.values())
    assert found["valid"].shape == (2,)


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38])
def test_numbers_that_are_none_are_not_valid(number, tiny):
    """And their neighbours in the batch are as they were."""
    servable = Servable(tiny(scales=1, learners=1), (0,), (0,))
    embed = servable._embed

    def overflowing(squares):
        large = tf.reduce_max(squares, (1, 2, 3)) > 1e6
        outputs = embed(squares)
        found = tf.where(large[:, None], np.nan, outputs["embedding"])
        return outputs | {"embedding": found}

    servable._embed = overflowing
    images = np.random.default_rng(0).uniform(0, 255, (3, 40, 50, 3)).astype("f")
    whole = servable.signatures["images_float"](tf.constant(images))
    images[1, 20, 25, 0] = number
    found = servable.signatures["images_float"](tf.constant(images))
    assert whole["valid"].numpy().all()
    assert found["valid"].numpy().tolist() == [True, False, True]
    for name, value in found.items():
        assert not value.numpy()[1].any()
        np.testing.assert_array_equal(value.numpy()[::2], whole[name].numpy()[::2])
