"""A backbone is one function and one entry of the dict."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.backbones import BACKBONES, Architecture, build_backbone
from deml_tf.errors import UsageError
from deml_tf.losses.binomial_deviance import BinomialDeviance
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.training.trainer import Trainer

layers = keras.layers


def build(input_size):
    image = keras.Input((input_size, input_size, 3))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, 2, padding="same", name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="second")(x)
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="branch")(x)
    x = layers.Add(name="joined")([x, y])
    x = layers.Dropout(0.1)(x)
    return keras.Model(image, layers.Conv2D(16, 3, 2, padding="same", name="third")(x))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    architecture = Architecture(
        build, {"early": "second", "late": "joined"}, gate_bias=1.0
    )
    monkeypatch.setitem(BACKBONES, "mine", architecture)


def values(backbone):
    return [v.numpy() for v in backbone.lower.weights + backbone.upper.weights]


def test_it_is_cut_copied_and_seeded():
    settings = {"input_size": 40, "weights": "none"}
    first = build_backbone("mine", prefix="a_", **settings)
    again = build_backbone("mine", prefix="b_", dtype="mixed_bfloat16", **settings)
    other = build_backbone("mine", cut_layer="late", seed=1, **settings)
    assert first.gate_bias == 1.0
    assert first.lower.output_shape == (None, 10, 10, 8)
    assert first.upper.output_shape == [(None, 10, 10, 8), (None, 5, 5, 16)]
    assert "joined" not in {layer.name for layer in other.upper.layers}
    # The prefix is the only difference of names; the pixels stay in float32.
    assert list(first.layers()) == list(again.layers())
    assert all(layer.name[:2] == "b_" for layer in again.layers().values())
    assert again.layers()["rescaling"].compute_dtype == "float32"
    assert again.layers()["first"].compute_dtype == "bfloat16"
    kernels = 0
    for a, b, c in zip(*map(values, (first, again, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        kernels += np.any(a != c)
    assert kernels == 4
    (norm,) = first.norms()
    assert norm.momentum == 0.9 and norm.trainable
    assert len({v.tobytes() for v in values(first) if v.ndim > 1}) == 4


def test_a_copy_draws_alike_whatever_was_built_before():
    def draw(keep):
        keras.utils.set_random_seed(7)
        kept = build_backbone("mine", input_size=40, weights="none")
        if not keep:
            del kept
            gc.collect()
        build_backbone("mine", input_size=40, weights="none", prefix="b_")
        return keras.initializers.RandomUniform()((4,)).numpy()

    np.testing.assert_array_equal(draw(True), draw(False))


def test_an_embedder_of_it_trains_and_comes_back(tmp_path):
    embedder = build_deml(
        backbone="mine",
        weights="none",
        input_size=40,
        scales=2,
        learners=2,
        embedding_dim=16,
    )
    trainer = Trainer(core_of(embedder), BinomialDeviance())
    trainer.compile(keras.optimizers.SGD(1e-2))
    x = np.random.default_rng(0).uniform(0, 255, (8, 40, 40, 3)).astype("f4")
    before = [v.numpy() for v in trainer.core.trainable_variables]
    labels = tf.repeat(tf.range(4), 2)
    assert np.isfinite(float(trainer.train_step((tf.constant(x), labels))["loss"]))
    after = [v.numpy() for v in trainer.core.trainable_variables]
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))
    embedder.save(tmp_path / "embedder.keras")
    loaded = keras.saving.load_model(tmp_path / "embedder.keras")
    np.testing.assert_array_equal(loaded(x), embedder(x))


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"cut_layer": "third"}, "'third' is unknown for mine: choose one of early, l"),
        ({"width": 0.5}, "width=0.5 is not for mine"),
        ({"input_size": 32}, "input_size=32 leaves a final map of one position"),
        ({"weights": "imagenet"}, "'imagenet' do not exist for mine: set weights='non"),
        ({"weights": "w.pth"}, "nor a file ending in .weights.h5"),
    ],
)
def test_wrong_arguments(changes, pattern):
    settings = {"input_size": 40, "weights": "none"} | changes
    with pytest.raises(UsageError, match=pattern):
        build_backbone("mine", **settings)


def test_a_cut_beside_a_path_is_refused(monkeypatch):
    monkeypatch.setitem(BACKBONES, "mine", Architecture(build, {"cut": "branch"}, 0.0))
    with pytest.raises(UsageError, match="'branch' is no clean cut of mine"):
        build_backbone("mine", input_size=40, weights="none")
