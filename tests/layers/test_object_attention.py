import itertools
import math
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.object_attention import ObjectAttention, evened_map
from deml_tf.layers.random_walk import (
    feature_distances,
    location_kernel,
    saliency_map,
    stationary,
    transition_matrix,
)

PHOTOS = Path(__file__).parents[3] / "shared/data/cub200_2010/images"
WHOLE = [0.0, 0.0, 1.0, 1.0]


def blobs(count, h=7, w=7, c=32, seed=0):
    """Feature maps with structure: soft blobs, each its own pattern, noise, relu."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w] / np.array([h, w])[:, None, None]
    maps = 0.15 * rng.normal(size=(count, h, w, c)) + 0.05
    for _ in range(3):
        cy, cx = rng.uniform(0, 1, (2, count, 1, 1))
        reach = rng.uniform(0.08, 0.3, (count, 1, 1))
        shape = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * reach**2))
        maps += shape[..., None] * rng.normal(size=(count, 1, 1, c))
    return np.maximum(maps, 0).astype("float32")


def loop_distances(features, epsilon):
    """D of one map (h, w, c), position by position, in float64."""
    h, w, _ = features.shape
    places = list(itertools.product(range(h), range(w)))
    d = np.zeros((h * w, h * w))
    for (p, (y, x)), (q, (v, u)) in itertools.product(enumerate(places), repeat=2):
        apart = math.dist(features[y, x].astype(float), features[v, u].astype(float))
        reach = ((y - v) / h) ** 2 + ((x - u) / w) ** 2
        d[p, q] = apart * math.exp(-reach / (2 * epsilon**2))
    return d


def loop_walk(d, steps, start=None):
    """The walk on one D in float64."""
    m = np.full(len(d), 1 / len(d)) if start is None else start
    chain = d / d.sum(axis=0)
    for _ in range(steps):
        m = chain @ m
    return m


def release_box(saliency, resolution=227):
    """The release's map to box for one map, read anew in OpenCV: clipped, relative."""
    span = saliency.max() - saliency.min()
    grey = ((saliency - saliency.min()) / span * 255).astype(np.uint8)
    size = (resolution, resolution)
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
    mask = (grey > grey.mean()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    x, y, width, height, _ = stats[1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])]
    side = (width + height) / 2
    x, y = x + width / 2 - side / 2, y + height / 2 - side / 2
    box = np.array([y, x, y + side, x + side])
    return np.clip(box, 0, resolution) / resolution


def overlap(a, b):
    """Intersection over union of (n, 4) boxes."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1)
    return shared / (area - shared)


def overlaps_with_release(features):
    """IoU of each map's box, ten steps and clipped, with the independent reading's."""
    layer = ObjectAttention(steps=10, border="clip", resolution=227)
    boxes = layer(features)["boxes"].numpy()
    expected = []
    for values in features:
        h, w, c = values.shape
        flat = values.reshape(h * w, c).astype(np.float64)
        apart = np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(-1))
        d = apart * location_kernel(h, w, 0.15).astype(np.float64)
        expected.append(release_box(loop_walk(d, 10).reshape(h, w)))
    return overlap(boxes, np.array(expected))


@pytest.mark.parametrize(("h", "w"), [(4, 4), (3, 5)])
def test_distances_equal_naive_loops(h, w):
    maps = blobs(3, h, w, 5)
    apart, differ = feature_distances(tf.constant(maps.reshape(3, h * w, 5)))
    assert differ.numpy().all()
    found = apart * location_kernel(h, w, 0.15)
    for values, d in zip(maps, found, strict=True):
        np.testing.assert_allclose(d, loop_distances(values, 0.15), atol=2e-5)


def test_square_grids_have_the_release_kernel():
    kernel = location_kernel(7, 7, 0.15)
    eps = 0.15 * 7
    assert kernel[0, 1] == pytest.approx(math.exp(-1 / (2 * eps**2)), rel=1e-6)
    assert kernel[0, 16] == pytest.approx(math.exp(-8 / (2 * eps**2)), rel=1e-6)
    assert not np.diag(kernel).any()


def test_columns_of_the_chain_sum_to_one():
    d = tf.constant([loop_distances(m, 0.15) for m in blobs(4)], tf.float32)
    np.testing.assert_allclose(
        tf.reduce_sum(transition_matrix(d), axis=1), 1, atol=1e-6
    )
    m = stationary(d)
    np.testing.assert_allclose(tf.linalg.matvec(transition_matrix(d), m), m, atol=1e-7)


@pytest.mark.parametrize(("h", "w"), [(7, 7), (10, 10), (14, 14), (5, 9)])
def test_closed_form_equals_500_float64_steps(h, w):
    maps = blobs(6, h, w)
    saliency = ObjectAttention()(maps)["saliency"].numpy()
    for values, found in zip(maps, saliency, strict=True):
        expected = loop_walk(loop_distances(values, 0.15), 500).reshape(h, w)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(saliency.sum((1, 2)), 1, atol=1e-6)


def test_steps_equal_the_loop():
    maps = blobs(5)
    found = ObjectAttention(steps=10)(maps)["saliency"].numpy()
    for values, saliency in zip(maps, found, strict=True):
        expected = loop_walk(loop_distances(values, 0.15), 10).reshape(7, 7)
        np.testing.assert_allclose(saliency, expected, rtol=2e-5)


def test_ten_steps_are_near_the_end_and_more_are_nearer():
    # Without structure 1e-3; with it the walk mixes more slowly, see the class.
    random = np.random.default_rng(0).normal(size=(100, 7, 7, 512)).astype("float32")
    for maps, steps, most in [
        (random, 10, 1.5e-3),
        (blobs(100), 10, 3e-2),
        (blobs(100), 40, 1e-3),
    ]:
        walked = ObjectAttention(steps=steps)(maps)["saliency"]
        end = ObjectAttention()(maps)["saliency"]
        gap = np.abs(walked - end).sum((1, 2)).mean()
        assert 1e-7 < gap < most


@pytest.mark.parametrize("steps", [None, 10])
def test_prior_correction_divides_by_the_kernels_own_map(steps):
    maps = blobs(4)
    plain, _ = saliency_map(tf.constant(maps), steps, 0.15)
    expected = plain.numpy() / location_kernel(7, 7, 0.15).sum(1).reshape(7, 7)
    expected /= expected.sum((1, 2), keepdims=True)
    layer = ObjectAttention(steps=steps, prior_correction=True)
    np.testing.assert_allclose(layer(maps)["saliency"], expected, rtol=1e-5)


def test_without_information_the_walk_keeps_to_the_centre_and_corrected_does_not():
    maps = np.eye(49, dtype="float32").reshape(1, 7, 7, 49)  # all equally far apart
    plain = ObjectAttention()(maps)
    side = float(plain["boxes"][0, 2] - plain["boxes"][0, 0])
    assert side == pytest.approx(0.74, abs=0.01) and not plain["fallback"][0]
    corrected = ObjectAttention(prior_correction=True)(maps)
    assert corrected["fallback"][0]
    np.testing.assert_array_equal(corrected["boxes"][0], WHOLE)


def test_large_common_parts_and_large_values_cost_no_digits():
    maps = blobs(3)
    expected = ObjectAttention()(maps)["saliency"]
    for changed in (maps * 1e12, maps * 1e-12):
        found = ObjectAttention()(changed)["saliency"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    offset = np.float32(64) * np.random.default_rng(0).integers(1, 4, 32)
    shifted = (maps + offset).astype("float32")
    exact = loop_distances(shifted[0], 0.15).sum(1)
    found = ObjectAttention()(shifted)["saliency"][0].numpy().ravel()
    np.testing.assert_allclose(found, exact / exact.sum(), rtol=1e-5)


def test_two_kinds_of_features_leave_only_their_border():
    maps = np.zeros((1, 7, 7, 3), np.float32) + np.float32([0.1, 0.7, 0.3])
    maps[0, :, :3] = np.float32([0.9, 0.2, 0.4])
    found = ObjectAttention()(maps)["saliency"][0].numpy().ravel()
    exact = loop_distances(maps[0], 0.15).sum(1)
    np.testing.assert_allclose(found, exact / exact.sum(), atol=1e-6)


def _fallbacks():
    maps = blobs(8, seed=5)
    maps[1] = 0
    maps[2] = 1 + 1e-7 * maps[0]  # no more than rounding
    maps[3] = np.random.default_rng(0).random(32)  # the same vector everywhere
    maps[4, 2, 3, 1] = np.nan
    maps[5, 0, 0, 0] = np.inf
    maps[6] *= np.float32(1e30)  # squares overflow
    return maps, [False, True, True, True, True, True, True, False]


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("steps", [None, 10])
@pytest.mark.parametrize("lower", [False, True])
def test_fallbacks(steps, corrected, lower):
    maps, expected = _fallbacks()
    second = [blobs(8, 14, 14, 8, seed=9)] if lower else []
    layer = ObjectAttention(steps=steps, prior_correction=corrected)
    found = layer(maps, *second)
    np.testing.assert_array_equal(found["fallback"], expected)
    saliency = found["saliency"].numpy()
    np.testing.assert_array_equal(saliency[expected], np.float32(1 / 49))
    np.testing.assert_array_equal(
        found["boxes"].numpy()[expected], [WHOLE] * sum(expected)
    )
    np.testing.assert_allclose(saliency.sum((1, 2)), 1, atol=1e-6)
    alone = layer(maps[[0, 7]], *[m[[0, 7]] for m in second])
    np.testing.assert_allclose(saliency[[0, 7]], alone["saliency"], rtol=1e-5)


def test_one_position_alone_is_the_whole_image():
    found = ObjectAttention()(np.ones((2, 1, 1, 4), "float32"))
    assert found["fallback"].numpy().all()
    np.testing.assert_array_equal(found["saliency"], np.ones((2, 1, 1)))


@pytest.mark.parametrize("steps", [1, 10])
def test_lower_map_starts_the_walk(steps):
    upper, lower = blobs(3, seed=1), blobs(3, 14, 14, 8, seed=2)
    found = ObjectAttention(steps=steps)(upper, lower)["saliency"].numpy()
    for i in range(3):
        first = loop_walk(loop_distances(lower[i], 0.15), steps).reshape(14, 14)
        first = (first - first.min()) / (first.max() - first.min())
        first = cv2.resize(first, (7, 7), interpolation=cv2.INTER_LINEAR).ravel()
        start = first / first.sum()
        expected = loop_walk(loop_distances(upper[i], 0.15), steps, start)
        np.testing.assert_allclose(found[i].ravel(), expected, rtol=5e-5, atol=1e-7)


def test_exact_maps_of_two_layers_are_averaged():
    upper, lower = blobs(3, seed=1), blobs(3, 14, 14, 8, seed=2)
    layer = ObjectAttention()
    maps = [layer(features)["saliency"] for features in (upper, lower)]
    expected = sum(evened_map(m, 7, 7) for m in maps) / 2
    np.testing.assert_allclose(
        layer(upper, lower)["saliency"], expected, rtol=1e-5, atol=1e-7
    )
    assert np.abs(layer(upper, lower)["boxes"] - layer(upper)["boxes"]).max() > 0.05


@pytest.mark.parametrize("steps", [None, 10])
def test_a_lower_map_that_says_nothing_has_no_influence(steps):
    upper, layer = blobs(3, seed=1), ObjectAttention(steps=steps)
    found = layer(upper, np.ones((3, 14, 14, 8), "float32"))
    np.testing.assert_allclose(found["boxes"], layer(upper)["boxes"], atol=0.01)
    np.testing.assert_allclose(tf.reduce_sum(found["saliency"], (1, 2)), 1, atol=1e-6)
    assert not found["fallback"].numpy().any()


def test_boxes_equal_opencvs_reading_of_the_release():
    features = np.concatenate([blobs(300, c=16, seed=s) for s in (3, 4)])
    found = overlaps_with_release(features)
    print(f"mean IoU {found.mean():.4f}, 1 % {np.percentile(found, 1):.4f}")
    assert found.mean() >= 0.97
    assert np.percentile(found, 1) >= 0.88


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the bird photos are not here")
def test_boxes_equal_opencvs_reading_on_photos():
    from deml_tf.backbones import build_backbone

    files = sorted(PHOTOS.glob("*/*.jpg"))
    files = files[:: max(1, len(files) // 200)]
    assert len(files) >= 200
    backbone = build_backbone(
        "efficientnet_lite0",
        input_size=224,
        weights="imagenet",
        width=1.0,
        output_stride=32,
        cut_layer=None,
        batch_norm="frozen",
        prefix="t",
    )
    features = []
    for start in range(0, len(files), 50):
        images = [
            tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(str(f)), 3), (224, 224))
            for f in files[start : start + 50]
        ]
        features.append(backbone.upper(backbone.lower(tf.stack(images)))[-1])
    features = np.concatenate(features)
    assert features.shape[1:3] == (7, 7)
    found = overlaps_with_release(features)
    ten = ObjectAttention(steps=10)(features)
    end = ObjectAttention()(features)
    gap = np.abs(ten["saliency"] - end["saliency"]).sum((1, 2))
    print(
        f"{len(files)} photos: mean IoU {found.mean():.4f}, 1 % "
        f"{np.percentile(found, 1):.4f}, least {found.min():.4f}; ten steps against "
        f"the end, L1: mean {gap.mean():.2e}, largest {gap.max():.2e}"
    )
    assert not ten["fallback"].numpy().any()
    assert found.mean() >= 0.97
    assert np.percentile(found, 1) >= 0.88
    assert gap.mean() < 2.5e-2


@pytest.mark.parametrize(("h", "w"), [(7, 7), (10, 10), (14, 14), (6, 11)])
def test_boxes_are_inside_and_square(h, w):
    found = ObjectAttention()(blobs(40, h, w, 8))
    boxes = found["boxes"].numpy()
    assert boxes.shape == (40, 4) and found["saliency"].shape == (40, h, w)
    assert boxes.min() >= 0 and boxes.max() <= 1
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-6)


def test_a_box_holds_the_object():
    rng = np.random.default_rng(0)
    maps = np.zeros((1, 14, 14, 8), np.float32)
    maps[0, 2:6, 7:12] = rng.random((4, 5, 8))
    ymin, xmin, ymax, xmax = ObjectAttention()(maps)["boxes"][0].numpy() * 14
    assert ymin < 3 and ymax > 5 and xmin < 8 and xmax > 11
    assert (ymax - ymin) < 9


def test_no_gradient_flows():
    maps, lower = tf.constant(blobs(2)), tf.constant(blobs(2, 14, 14))
    for steps in (None, 2):
        with tf.GradientTape() as tape:
            tape.watch([maps, lower])
            found = ObjectAttention(steps=steps)(maps, lower)
            total = tf.reduce_sum(found["boxes"]) + tf.reduce_sum(found["saliency"])
        assert tape.gradient(total, [maps, lower]) == [None, None]


@pytest.mark.parametrize("arguments", [{}, {"dtype": "mixed_bfloat16"}])
def test_bfloat16_features_are_lifted(arguments):
    maps = tf.cast(blobs(3), tf.bfloat16)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = ObjectAttention(**arguments)
        found = layer(maps)
        kept = layer(blobs(3))
    finally:
        keras.config.set_dtype_policy(before)
    assert found["boxes"].dtype == found["saliency"].dtype == tf.float32
    exact = ObjectAttention()(tf.cast(maps, tf.float32))
    np.testing.assert_allclose(found["saliency"], exact["saliency"], rtol=1e-6)
    exact = ObjectAttention()(blobs(3))  # float32 features are not rounded either
    np.testing.assert_allclose(kept["saliency"], exact["saliency"], rtol=1e-6)


def test_xla_agrees_with_eager():
    layer = ObjectAttention(steps=10, prior_correction=True)
    maps, lower = tf.constant(blobs(5)), tf.constant(blobs(5, 10, 10, 8))
    eager = layer(maps, lower)
    compiled = tf.function(layer, jit_compile=True)(maps, lower)
    np.testing.assert_allclose(compiled["boxes"], eager["boxes"], atol=0.006)
    np.testing.assert_allclose(compiled["saliency"], eager["saliency"], atol=1e-6)
    np.testing.assert_array_equal(compiled["fallback"], eager["fallback"])
    # The exact end differs in the walk alone; the box takes long to compile.
    end = tf.function(saliency_map, jit_compile=True)(maps, None, 0.15, True)
    for a, b in zip(end, saliency_map(maps, None, 0.15, True), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_nothing_runs_on_the_host():
    layer = ObjectAttention(steps=10)
    shapes = [tf.TensorSpec((None, 7, 7, 8)), tf.TensorSpec((None, 14, 14, 8))]
    function = tf.function(layer).get_concrete_function(*shapes)
    definition = function.graph.as_graph_def()
    nodes = list(definition.node)
    for inner in definition.library.function:
        nodes.extend(inner.node_def)
    kinds = {node.op for node in nodes}
    assert "UnsortedSegmentMax" in kinds  # the loop's body is among them
    assert not kinds & {"PyFunc", "EagerPyFunc", "PyFuncStateless", "NumpyFunction"}


def test_it_saves_and_loads(tmp_path):
    arguments = {
        "steps": 3,
        "epsilon": 0.2,
        "border": "clip",
        "prior_correction": True,
        "resolution": 64,
    }
    inputs = [keras.Input((7, 7, 8)), keras.Input((14, 14, 4))]
    layer = ObjectAttention(name="attention", **arguments)
    model = keras.Model(inputs, layer(*inputs))
    assert model.output["fallback"].dtype == "bool"
    assert model.output["saliency"].shape == (None, 7, 7)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    config = loaded.get_layer("attention").get_config()
    assert {name: config[name] for name in arguments} == arguments
    assert config["dtype"]["config"]["name"] == "float32"
    maps = [blobs(3, c=8), blobs(3, 14, 14, 4)]
    for name, value in model(maps).items():
        np.testing.assert_array_equal(loaded(maps)[name], value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 0}, "steps=0"),
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"border": "wrap"}, "wrap"),
        ({"resolution": 0}, "resolution=0"),
    ],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(UsageError, match=said):
        ObjectAttention(**arguments)


def test_unknown_grids_are_refused():
    with pytest.raises(UsageError, match="shape"):
        ObjectAttention()(keras.Input((None, None, 8)))
