import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.kernels.cpu_gradients import layers_within
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
