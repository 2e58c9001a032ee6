import keras
import numpy as np
import pytest

from deml_tf.layers.projection import Projection


@pytest.mark.parametrize("shared", [True, False])
def test_against_loops(shared):
    layer = Projection(4, shared)
    inputs = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    outputs = layer(inputs).numpy()
    assert len(layer.trainable_variables) == (1 if shared else 3)
    for b in range(2):
        for j in range(3):
            kernel = layer.kernels[0 if shared else j].numpy()
            np.testing.assert_allclose(outputs[b, j], inputs[b, j] @ kernel, atol=1e-5)
    limit = np.sqrt(6 / (5 + 4))  # Xavier over one learner's (c, d)
    for kernel in layer.kernels:
        assert 0.5 * limit < np.abs(kernel.numpy()).max() <= limit


@pytest.mark.parametrize("seed", [1, keras.random.SeedGenerator(1), None])
def test_each_learner_draws_its_own_kernel(seed):
    glorot = keras.initializers.GlorotUniform(seed=seed)
    layer = Projection(4, shared=False, kernel_initializer=glorot)
    layer.build((None, 3, 5))
    assert len({kernel.numpy().tobytes() for kernel in layer.kernels}) == 3


@pytest.mark.parametrize("shared", [True, False])
def test_saved_and_loaded(shared, tmp_path):
    inputs = keras.Input((3, 5))
    model = keras.Model(inputs, Projection(4, shared, dtype="float32")(inputs))
    assert model.output_shape == (None, 3, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    values = np.random.default_rng(1).normal(size=(2, 3, 5)).astype("float32")
    np.testing.assert_array_equal(model(values).numpy(), loaded(values).numpy())
