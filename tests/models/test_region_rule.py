"""A region rule is one class and one line: everything else takes it as it is."""

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

import deml_tf
from deml_tf.layers import REGION_RULES
from deml_tf.models.embedder import build_deml, core_of, explainer
from deml_tf.models.parts import part_core


@keras.saving.register_keras_serializable(package="deml_tf_tests")
class Corner(keras.layers.Layer):
    """Looks at a corner of the view, whatever the maps are.

    Args:
        share: Side of the box as a share of the side of the view.
        resolution: Not used.
    """

    def __init__(self, share: float = 0.5, resolution: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.share, self.resolution = share, resolution

    def call(self, last, middle):
        count, h, w = tf.shape(last)[0], *last.shape[1:3]
        assert middle.shape[1] >= h
        box = tf.constant([[0.0, 0.0, self.share, self.share]])
        return {
            "boxes": tf.tile(box, tf.stack([count, 1])),
            "saliency": tf.ones((count, h, w)) / (h * w),
            "fallback": tf.zeros((count,), tf.bool),
        }

    def get_config(self):
        own = {"share": self.share, "resolution": self.resolution}
        return super().get_config() | own


@pytest.fixture(scope="module")
def embedder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REGION_RULES, "corner", Corner)
        yield build_tiny(
            region_rule="corner",
            corner_share=0.25,
            input_size=32,
            resize_size=32,
            scales=3,
            learners=2,
        )


@pytest.fixture(scope="module")
def images():
    numbers = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    return numbers.astype("float32")


def test_the_scales_look_where_it_says(embedder, images):
    boxes = explainer(embedder)(images)["boxes"].numpy()
    expected = [[0, 0, 1, 1], [0, 0, 0.25, 0.25], [0, 0, 0.0625, 0.0625]]
    np.testing.assert_allclose(boxes, np.tile(expected, (2, 1, 1)), atol=1e-6)


def test_it_is_saved_and_loaded(embedder, images, tmp_path):
    embedder.save(tmp_path / "embedder.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "embedder.keras")
    np.testing.assert_array_equal(loaded(images), embedder(images))


def test_fewer_parts_keep_it(embedder, images):
    core = core_of(embedder)
    whole = core(images)
    some = part_core(core, (1, 2), (1,), explain=True)(images)
    np.testing.assert_allclose(some["boxes"], whole["boxes"][:, 1:], atol=1e-6)
    np.testing.assert_allclose(
        some["parts"], whole["parts"].numpy()[:, 1:, 1:], atol=1e-6
    )


@pytest.mark.parametrize("rule", [r for r in REGION_RULES if r != "walk"])
def test_every_rule_is_the_same_compiled_saved_and_in_parts(rule, images, tmp_path):
    """The walk has tests of its own."""
    sizes = {"input_size": 48, "resize_size": 48, "scales": 3, "learners": 2}
    embedder = build_tiny(region_rule=rule, **sizes)
    # Smooth: in noise, a box that moves by rounding changes every pixel of the view.
    squares = tf.image.resize(images[:, :8, :8], (48, 48))
    core = core_of(embedder)
    whole = core(squares)
    sides = (whole["boxes"][..., 2:] - whole["boxes"][..., :2]).numpy()
    if rule in ("fixed", "random"):
        expected = np.array([1, 0.74, 0.74**2], np.float32)[None, :, None]
        np.testing.assert_allclose(sides, np.tile(expected, (2, 1, 2)), atol=1e-5)
    assert (np.diff(sides, axis=1) < 0).all()  # each looks closer
    compiled = tf.function(lambda x: core(x, training=False), jit_compile=True)(squares)
    embedder.save(tmp_path / "embedder.keras")
    again: Any = keras.saving.load_model(tmp_path / "embedder.keras")
    loaded = core_of(again)(squares)
    for name in ("boxes", "embedding"):
        np.testing.assert_allclose(compiled[name], whole[name], atol=1e-5)
        np.testing.assert_array_equal(loaded[name], whole[name])
    some = part_core(core, (1, 2), (1,), explain=True)(squares)
    np.testing.assert_allclose(some["boxes"], whole["boxes"][:, 1:], atol=1e-5)


def test_scales_that_all_see_the_whole_image_are_networks_joined(images):
    """`fixed_side=1` is U512 several times: each part is what its scale makes of it."""
    core = core_of(
        build_tiny(region_rule="fixed", fixed_side=1.0, scales=2, learners=1)
    )
    squares = tf.image.resize(images, (40, 40))
    found = core(squares)
    np.testing.assert_array_equal(found["boxes"], np.tile([0, 0, 1, 1], (2, 2, 1)))
    for scale in (1, 2):
        layer = {
            name: core.get_layer(f"scale{scale}_{name}")
            for name in ("lower", "upper", "projection")
        }
        last = layer["upper"](layer["lower"](squares))[1].numpy()
        part = layer["projection"](last.mean((1, 2))[:, None]).numpy()
        part /= np.linalg.norm(part, axis=-1, keepdims=True)
        np.testing.assert_allclose(found["parts"][:, scale - 1], part, atol=2e-5)


def test_settings_are_documented():
    text, signature = str(deml_tf.build_deml.__doc__), inspect.signature(build_deml)
    assert "input_size: Side of" in text and "{settings}" not in text
    assert signature.parameters["input_size"].default == 224
    assert signature.parameters["seed"].default == 0
