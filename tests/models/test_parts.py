import keras
import numpy as np
import pytest

from deml_tf.backbones import BACKBONES, Architecture
from deml_tf.config import ModelConfig
from deml_tf.errors import DataError, UsageError
from deml_tf.models.cost import gmacs
from deml_tf.models.embedder import build_embedder, core_of
from deml_tf.models.parts import (
    chosen,
    part_core,
    precision_of,
    with_precision,
)

VARIANTS = {
    "default": {},
    "release": {"zoom_source": "previous", "shared_projection": False},
    "large source": {"source_size": 64, "walk_multi_layer": True, "pooled_gates": True},
}
CHOICES = [
    ("default", (0,), (0, 1)),
    ("default", (1,), (0,)),
    ("default", (0, 1), (0, 1)),
    ("default", (1,), (1,)),
    ("release", (0, 1), (1,)),
    ("large source", (0, 1), (1,)),
]


@pytest.fixture(scope="module")
def embedders(tiny):
    return {name: tiny(scales=2, learners=2, **v) for name, v in VARIANTS.items()}


def squares(core, count=3):
    random = np.random.default_rng(0)
    side = core.input.shape[1]
    images = random.uniform(0, 90, (count, side, side, 3)).astype("float32")
    images[:, 5:20, 8:22] += 160
    return images


@pytest.mark.parametrize("variant, scales, learners", CHOICES)
def test_the_same_columns(embedders, variant, scales, learners):
    core = core_of(embedders[variant])
    images = squares(core)
    whole = {name: value.numpy() for name, value in core(images).items()}
    some = part_core(core, scales, learners, explain=True)(images)
    parts = whole["parts"][:, scales][:, :, learners]
    np.testing.assert_allclose(some["parts"], parts, atol=1e-6)
    for name in ("boxes", "saliency", "fallback"):
        np.testing.assert_allclose(some[name], whole[name][:, scales], atol=1e-6)
    joined = parts.reshape(len(images), -1)
    joined /= np.linalg.norm(joined, axis=1, keepdims=True)
    np.testing.assert_allclose(some["embedding"], joined, atol=1e-6)
    served = part_core(core, scales, learners)(images)
    assert served.keys() == {"embedding", "boxes"}
    np.testing.assert_allclose(served["embedding"], joined, atol=1e-6)
    np.testing.assert_allclose(served["boxes"], whole["boxes"][:, scales], atol=1e-6)


@pytest.mark.slow
def test_fewer_parts_cost_less(embedders):
    core = core_of(embedders["default"])

    def cost(scales, learners, **options):
        return gmacs(part_core(core, scales, learners, **options), 40, 40, 3)

    whole, first_scale = cost((0, 1), (0, 1)), cost((0,), (0, 1))
    assert first_scale < 0.55 * whole
    # The first scale still tells the second where to look, with one learner.
    assert cost((1,), (1,)) == pytest.approx(cost((0, 1), (0,)), rel=1e-3)
    assert cost((0, 1), (0,)) < cost((0, 1), (1,)) < whole
    assert cost((0,), (1,)) < first_scale
    # Only who asks where the last scale looks pays for the learner that knows.
    assert cost((0,), (1,), explain=True) > cost((0,), (1,))
    names = [layer.name for layer in part_core(core, (0,), (0,)).layers]
    assert not any(name.startswith("scale2") for name in names)
    assert not any("object_attention" in name for name in names)


def test_the_trained_embedder_stays_as_it_is(embedders):
    core = core_of(embedders["default"])
    images = squares(core)
    before = core(images)["embedding"].numpy()
    part_core(core, (1,), (1,))
    np.testing.assert_array_equal(core(images)["embedding"].numpy(), before)
    assert len(core.output["parts"].shape) == 4


def test_baseline_without_gates(tiny):
    core = core_of(tiny(scales=1, learners=1))
    images = squares(core)
    some = part_core(core, (0,), (0,))(images)
    np.testing.assert_array_equal(some["embedding"], core(images)["embedding"])


def test_choices():
    assert chosen("scales", None, 3) == (0, 1, 2)
    assert chosen("scales", (2, 0), 3) == (0, 2)
    for wrong in ((3,), (-1,), (0, 0), ()):
        with pytest.raises(UsageError, match="scales="):
            chosen("scales", wrong, 3)


def test_another_precision_has_the_same_weights(tiny, small_backbone):
    sizes = {
        "backbone": small_backbone,
        "scales": 2,
        "learners": 2,
        "embedding_dim": 24,
        "input_size": 40,
    }
    sizes |= {"resize_size": 48, "width": 0.25, "output_stride": 16}
    config = ModelConfig(weights="none", **sizes)
    embedder = tiny(scales=2, learners=2, seed=5)
    assert precision_of(embedder) == "float32"
    assert with_precision(embedder, config, "float32") is embedder
    twin = with_precision(embedder, config, "bfloat16")
    assert precision_of(twin) == "bfloat16"
    for mine, its in zip(embedder.weights, twin.weights, strict=True):
        assert its.dtype == "float32"
        np.testing.assert_array_equal(mine.numpy(), its.numpy())
    images = squares(core_of(embedder))
    found, exact = (core_of(e)(images)["parts"].numpy() for e in (twin, embedder))
    assert found.dtype == np.float32
    assert 1e-5 < np.abs(found[:, 0] - exact[:, 0]).max() < 0.2
    with pytest.raises(DataError, match="flags of its run"):
        with_precision(
            embedder, ModelConfig(weights="none", **{**sizes, "scales": 1}), "bfloat16"
        )


def test_another_precision_normalises_the_pixels_alike(monkeypatch):
    def build(input_size):
        image = keras.Input((input_size, input_size, 3))
        x = keras.layers.Normalization(name="pixels")(image)
        for name in ("first", "second"):
            x = keras.layers.Conv2D(8, 4, 4, name=name)(x)
        return keras.Model(image, x)

    plain = Architecture(build, {"first": "first"}, gate_bias=3.0)
    monkeypatch.setitem(BACKBONES, "plain", plain)
    config = ModelConfig(
        backbone="plain", weights="none", scales=1, learners=1, input_size=64
    )
    embedder = build_embedder(config)
    pixels = core_of(embedder).get_layer("scale1_lower").get_layer("scale1_pixels")
    pixels.set_weights(
        [np.array([90.0, 110, 130]), np.array([900.0, 1600, 2500]), np.array(1)]
    )
    pixels.finalize_state()
    twin = with_precision(embedder, config, "bfloat16")
    same = core_of(twin).get_layer("scale1_lower").get_layer("scale1_pixels")
    np.testing.assert_array_equal(same.mean, pixels.mean)
    np.testing.assert_array_equal(same.variance, pixels.variance)
    images = squares(core_of(embedder))
    np.testing.assert_allclose(twin(images), embedder(images), atol=0.02)


def test_float64_is_told_apart(tiny, small_backbone):
    embedder = tiny(scales=1, learners=1, precision="float64")
    assert precision_of(embedder) == "float64"
    config = ModelConfig(
        backbone=small_backbone,
        weights="none",
        scales=1,
        learners=1,
        embedding_dim=24,
        input_size=40,
        resize_size=48,
        width=0.25,
        output_stride=16,
        precision="float64",
    )
    twin = with_precision(embedder, config, "float32")
    images = squares(core_of(embedder))
    assert (embedder(images).dtype, twin(images).dtype) == ("float64", "float32")
    np.testing.assert_allclose(twin(images), embedder(images), atol=1e-5)
