import random
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import NAME

from deml_tf.config import ModelConfig
from deml_tf.errors import UsageError
from deml_tf.layers.zoom import zoom
from deml_tf.models.embedder import (
    build_deml,
    build_frozen,
    core_of,
    explainer,
    geometry_of,
)

pytestmark = pytest.mark.usefixtures("small_backbone")
TINY = {
    "backbone": NAME,
    "weights": "none",
    "width": 0.25,
    "input_size": 64,
    "output_stride": 16,
    "embedding_dim": 36,
}


def tiny(**arguments):
    return build_deml(**{**TINY, **arguments})


def random_images(count=3, height=80, width=100, seed=0):
    """Random images with a bright square each, so that walks have an object."""
    random = np.random.default_rng(seed)
    images = random.uniform(0, 90, (count, height, width, 3)).astype("float32")
    for image in images:
        y, x = random.integers(0, height - 30), random.integers(0, width - 30)
        image[y : y + 30, x : x + 30] += 160
    return images


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("scales, learners", [(1, 1), (1, 3), (3, 1), (2, 2), (3, 3)])
def test_outputs(scales, learners):
    model = tiny(scales=scales, learners=learners, resize_size=72, explain=True)
    outputs = {k: v.numpy() for k, v in model(random_images()).items()}
    part = 36 // (scales * learners)
    assert outputs["parts"].shape == (3, scales, learners, part)
    assert outputs["boxes"].shape == (3, scales, 4)
    assert outputs["saliency"].shape == (3, scales, 4, 4)
    assert outputs["fallback"].shape == (3, scales)
    np.testing.assert_allclose(np.linalg.norm(outputs["parts"], axis=-1), 1, atol=1e-5)
    joined = unit(outputs["parts"].reshape(3, -1))
    np.testing.assert_allclose(outputs["embedding"], joined, atol=1e-5)
    np.testing.assert_allclose(outputs["saliency"].sum((2, 3)), 1, atol=1e-5)
    # The first scale sees the centre crop of 64 of 72 pixels.
    np.testing.assert_allclose(
        outputs["boxes"][:, 0], np.tile([4, 4, 68, 68], (3, 1)) / 72, atol=1e-6
    )
    # Every scale looks inside the one before.
    boxes = outputs["boxes"]
    assert (boxes[:, 1:, :2] >= boxes[:, :-1, :2] - 1e-6).all()
    assert (boxes[:, 1:, 2:] <= boxes[:, :-1, 2:] + 1e-6).all()


def test_embedding_alone_is_the_explained_one():
    plain = tiny(scales=2, learners=2)
    images = random_images()
    np.testing.assert_array_equal(
        plain(images).numpy(), explainer(plain)(images)["embedding"].numpy()
    )


def test_scales_start_equal_and_share_nothing():
    core = core_of(tiny(scales=2, learners=1))
    first = core.get_layer("scale1_lower").variables
    second = core.get_layer("scale2_lower").variables
    assert len(first) == len(second) == 10
    for a, b in zip(first, second, strict=True):
        assert a is not b
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_seed_decides_all_weights():
    options: Any = {"scales": 2, "learners": 2, "shared_projection": False}
    before = random.getstate()
    one, same, other = (tiny(seed=seed, **options).get_weights() for seed in (5, 5, 6))
    assert random.getstate() == before  # what is drawn next is none of its business
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    drawn = [(a, c) for a, c in zip(one, other, strict=True) if a.std() > 0]
    assert len(drawn) == 16 and all(np.any(a != c) for a, c in drawn)


def test_by_hand():
    """DeML(2, 2) step by step, from the layers themselves."""
    core = core_of(tiny(scales=2, learners=2, source_size=96))
    images = random_images(2, 96, 96)
    parts = []
    view = zoom(images, tf.constant([[0.0, 0, 1, 1]] * 2), 64)
    for i in (1, 2):
        features = core.get_layer(f"scale{i}_lower")(view)
        gates = core.get_layer(f"scale{i}_channel_attention").gates(features)
        kernel = core.get_layer(f"scale{i}_projection").kernels[0].numpy()
        last = [
            core.get_layer(f"scale{i}_upper")(gates[:, j] * features)[1]
            for j in range(2)
        ]
        pooled = [v.numpy().mean((1, 2)) for v in last]
        parts.append(np.stack([unit(x @ kernel) for x in pooled], axis=1))
        found = core.get_layer(f"scale{i}_object_attention")(last[0])
        view = zoom(images, found["boxes"], 64)
    outputs = core(images)
    np.testing.assert_allclose(outputs["parts"], np.stack(parts, 1), atol=2e-5)


def test_both_zoom_sources_see_the_same_places():
    images = random_images(4, 64, 64)
    outputs = {}
    for source in ("original", "previous"):
        keras.utils.set_random_seed(3)
        model = tiny(scales=3, learners=1, zoom_source=source, explain=True)
        outputs[source] = model(images)
    for scale in (0, 1):  # the third depends on how the second was resampled
        np.testing.assert_allclose(
            outputs["original"]["boxes"][:, scale],
            outputs["previous"]["boxes"][:, scale],
            atol=1e-6,
        )
    np.testing.assert_allclose(
        outputs["original"]["parts"][:, 1],
        outputs["previous"]["parts"][:, 1],
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"walk_steps": 10, "walk_border": "clip", "zoom_source": "previous"},
        {"walk_multi_layer": True, "walk_prior_correction": True},
        {"pooled_gates": True, "shared_projection": False, "source_size": 96},
        {
            "backbone": "efficientnet_lite0",
            "scales": 1,
            "fit": "pad",
            "gate_bias": 0.0,
            "cut_layer": "stage4",
        },
    ],
)
def test_saved_and_loaded(options, tmp_path):
    model = tiny(**{"scales": 2, "learners": 2, **options})
    model.save(tmp_path / "embedder.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "embedder.keras")
    images = random_images(2, 70, 90)
    np.testing.assert_array_equal(model(images).numpy(), loaded(images).numpy())
    assert geometry_of(loaded) == geometry_of(model)


def test_core_runs_anywhere():
    """No host operation, and XLA compiles it to the same numbers."""
    core = core_of(tiny(scales=2, learners=2, walk_multi_layer=True))
    images = tf.constant(random_images(2, 64, 64))
    traced = tf.function(lambda x: core(x, training=False))
    graph = traced.get_concrete_function(images).graph
    kinds = {op.type for op in graph.get_operations()}
    assert not {k for k in kinds if "PyFunc" in k}
    compiled = tf.function(lambda x: core(x, training=False), jit_compile=True)
    for name, value in compiled(images).items():
        if name != "fallback":
            np.testing.assert_allclose(value, traced(images)[name], atol=1e-4)


def test_bfloat16_keeps_walk_and_parts_in_float32():
    # At a width of .25, oneDNN is wrong on CPUs with AMX: docs/limits.md.
    settings = {"scales": 1, "learners": 2, "explain": True, "width": 0.5}
    keras.utils.set_random_seed(0)
    full = tiny(**settings)
    keras.utils.set_random_seed(0)
    half = tiny(**settings, precision="bfloat16")
    images = random_images()
    a, b = full(images), half(images)
    for name in ("embedding", "parts", "boxes", "saliency"):
        assert b[name].dtype == tf.float32
    core = core_of(half)
    assert core.get_layer("scale1_upper").output[1].dtype == "bfloat16"
    cosine = np.sum(a["embedding"].numpy() * b["embedding"].numpy(), -1)
    assert (cosine > 0.98).all() and not np.array_equal(a["parts"], b["parts"])


def test_any_size_is_prepared_inside():
    model = tiny(scales=1, learners=1, resize_size=72)
    image = random_images(1, 144, 144)
    small = tf.image.resize(image, (72, 72), antialias=True)
    np.testing.assert_allclose(model(image), model(small), atol=1e-5)
    byte = image.astype("uint8")
    np.testing.assert_allclose(model(byte), model(byte.astype("float32")), atol=1e-6)


def test_frozen_start_is_the_pooled_backbone():
    frozen = build_frozen(ModelConfig(**TINY, resize_size=72, learners=2), seed=0)
    core = core_of(tiny(scales=1, learners=1))
    images = random_images(2, 72, 72)
    cropped = images[:, 4:68, 4:68]
    expected = core.get_layer("scale1_upper")(core.get_layer("scale1_lower")(cropped))
    np.testing.assert_allclose(
        frozen(images), expected[1].numpy().mean((1, 2)), atol=1e-5
    )


@pytest.mark.parametrize(
    "options, words",
    [
        ({"scales": 0}, "scales=0"),
        ({"learners": 0}, "learners=0"),
        ({"embedding_dim": 8}, "embedding_dim=8"),
        ({"resize_size": 60}, "resize_size=60"),
        ({"source_size": 32}, "source_size=32"),
        ({"zoom_source": "first"}, "zoom_source=first: it must be original or prev"),
        ({"precision": "float16"}, "precision=float16"),
        ({"width": 0.0}, "width=0.0: it must be above 0.0"),
        ({"scale": 2}, "scale=2 is no setting of build_deml: did you mean scales"),
        ({"region_rule": "run"}, "region_rule='run' is unknown: use walk"),
        ({"walk_resolution": 100}, "walk_resolution is no argument .*: leave it out"),
        ({"walk_kwargs": {}}, "walk_kwargs is no argument .*: leave it out"),
        ({"walk_stepps": 2}, "walk_stepps is no argument .* did you mean walk_steps"),
        (
            {"channel_attention": False},
            "learners=1, .*=true or shared_projection=false",
        ),
        ({"backbone": "vgg"}, "vgg"),
        ({"backbone": "efficientnet_lite0", "weights": "imagenet"}, "width"),
        ({"walk_border": "wrap"}, "wrap"),
    ],
)
def test_wrong_arguments(options, words):
    with pytest.raises(UsageError, match=words):
        tiny(**options)
