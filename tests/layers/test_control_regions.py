"""Regions that do not look at the object: a fixed one and a random one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_object_attention import blobs

from deml_tf.errors import UsageError
from deml_tf.layers import REGION_RULES, FixedRegion, RandomRegion


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, [0.13, 0.13, 0.87, 0.87]),
        ({"side": 1.0}, [0, 0, 1, 1]),
        ({"side": 1.0, "centre_y": 0.0, "centre_x": 1.0}, [0, 0, 1, 1]),
        ({"side": 0.5, "centre_y": 0.25, "centre_x": 0.6}, [0, 0.35, 0.5, 0.85]),
        ({"side": 0.5, "centre_y": 0.0, "centre_x": 1.0}, [0, 0.5, 0.5, 1]),
    ],
)
def test_fixed_boxes(arguments, expected):
    found = FixedRegion(**arguments)(blobs(3, 5, 7))
    np.testing.assert_allclose(found["boxes"], [expected] * 3, atol=1e-6)
    np.testing.assert_allclose(found["saliency"], np.full((3, 5, 7), 1 / 35))
    assert not found["fallback"].numpy().any()
    spoilt = np.full((1, 5, 7, 4), np.nan, "f4")
    np.testing.assert_allclose(FixedRegion(**arguments)(spoilt)["boxes"], [expected])


def loop_places(features, layer):
    """The places of one map as the docstring has them, in float64."""
    h, w, c = features.shape
    random = np.random.RandomState(layer.seed)
    a, b = random.standard_normal((h, w, 2)), random.standard_normal((c, 2))
    less = features.astype(float) - features.astype(float).mean((0, 1))
    size = np.linalg.norm(less) + 1e-3 * np.linalg.norm(features.astype(float))
    places = []
    for k in range(2):
        t = sum(
            (a[y, x, k] - a[:, :, k].mean()) * less[y, x] @ b[:, k]
            for y in range(h)
            for x in range(w)
        )
        turned = 4 * t / size % 1.0
        folded = 1 - 2 * turned if turned < 0.5 else 2 * turned - 1
        places.append(min(int(9 * folded), 8) / 8)
    return np.array(places)


@pytest.mark.parametrize("seed, side", [(0, 0.74), (5, 0.3)])
def test_random_boxes_against_loops(seed, side):
    maps, layer = blobs(4, 5, 7), RandomRegion(side, seed)
    boxes = layer(maps)["boxes"].numpy()
    for features, box in zip(maps, boxes, strict=True):
        starts = (1 - side) * loop_places(features, layer)
        np.testing.assert_allclose(box, [*starts, *(starts + side)], atol=1e-6)


def test_random_places_are_uniform():
    """On maps that are alike as on maps that are not."""
    alike = blobs(1) + 0.1 * blobs(1000, seed=1)
    for maps in (blobs(1000), alike):
        found = RandomRegion(0.5)(maps)
        starts = found["boxes"].numpy()[:, :2] / 0.5
        assert not found["fallback"].numpy().any()
        assert starts.min() >= 0 and starts.max() <= 1
        for axis in (0, 1):  # 111 in each of nine places, deviation 10
            counts = np.bincount(np.rint(8 * starts[:, axis]).astype(int), minlength=9)
            assert len(counts) == 9 and 70 < counts.min() and counts.max() < 152
        assert abs(np.corrcoef(starts.T)[0, 1]) < 0.13  # 4 deviations of 1/sqrt(1000)


def test_random_boxes_follow_from_the_image():
    """Whatever else is in the batch and however it is computed."""
    maps, layer = blobs(8), RandomRegion()
    whole = layer(maps)["boxes"].numpy()
    alone = np.concatenate([layer(m[None])["boxes"].numpy() for m in maps])
    np.testing.assert_allclose(alone, whole, atol=1e-6)
    compiled = tf.function(layer, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(maps)["boxes"], whole, atol=1e-6)
    again = RandomRegion.from_config(layer.get_config())
    np.testing.assert_array_equal(again(maps)["boxes"], whole)
    other = RandomRegion(seed=1)(maps)["boxes"].numpy()
    assert np.abs(other - whole).max() > 0.05


def test_random_boxes_move_rarely_by_rounding():
    maps, layer = blobs(1000), RandomRegion()
    whole = layer(maps)["boxes"].numpy()
    noise = np.random.default_rng(0).normal(0, 1, maps.shape)
    rounded = layer((maps * (1 + 1e-6 * noise)).astype("f4"))["boxes"].numpy()
    assert np.mean(np.abs(rounded - whole).max(1) > 1e-6) < 5e-3
    half = layer(tf.cast(maps, tf.bfloat16))["boxes"]
    assert half.dtype == tf.float32
    moved = np.abs(half.numpy() - whole)
    assert np.mean(moved.max(1) > 1e-6) < 0.3
    assert np.quantile(moved, 0.99) < 0.04  # by one place, 0.0325


def test_random_boxes_of_maps_that_say_nothing():
    layer = RandomRegion(0.5)
    flat = layer(np.ones((2, 4, 4, 8), "f4"))
    np.testing.assert_allclose(flat["boxes"], [[0.5, 0.5, 1, 1]] * 2, atol=1e-3)
    maps = blobs(2, 4, 4, 8)
    kept = layer(maps)["boxes"].numpy()
    maps[1, 2, 2, 3] = np.nan
    spoilt = layer(maps)
    assert spoilt["fallback"].numpy().tolist() == [False, True]
    np.testing.assert_allclose(spoilt["boxes"], [kept[0], [0, 0, 1, 1]], atol=1e-6)
    single = RandomRegion(0.5)(np.ones((1, 1, 1, 8), "f4"))
    np.testing.assert_allclose(single["boxes"], [[0.5, 0.5, 1, 1]])


@pytest.mark.parametrize("rule", [FixedRegion, RandomRegion])
def test_maps_of_unknown_size_are_refused(rule):
    with pytest.raises(UsageError, match=r"give \(b, h, w, c\), all but b known"):
        rule()(keras.Input((None, None, 64)))


def test_no_gradient():
    maps = tf.constant(blobs(2))
    for layer in (FixedRegion(), RandomRegion()):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            total = tf.reduce_sum(layer(maps)["boxes"])
        assert tape.gradient(total, maps) is None


@pytest.mark.parametrize(
    "kind, arguments, words",
    [
        (FixedRegion, {"side": 0.0}, "side=0.0: it must be above 0 and at most 1"),
        (FixedRegion, {"side": float("nan")}, "side=nan"),
        (FixedRegion, {"centre_y": -0.1}, "centre_y=-0.1: it must be from 0 to 1"),
        (FixedRegion, {"centre_x": 1.5}, "centre_x=1.5"),
        (RandomRegion, {"side": 1.1}, "side=1.1"),
        (RandomRegion, {"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_arguments(kind, arguments, words):
    with pytest.raises(UsageError, match=words):
        kind(**arguments)


def test_a_grid_that_is_not_known():
    with pytest.raises(UsageError, match="all but b known"):
        RandomRegion()(keras.Input((None, None, 8)))


def test_they_are_registered():
    assert REGION_RULES["fixed"] is FixedRegion
    assert REGION_RULES["random"] is RandomRegion
