"""The square that best tells inside from outside."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_object_attention import blobs

from deml_tf.errors import UsageError
from deml_tf.layers import REGION_RULES, SeparationRegion

WHOLE = [0.0, 0.0, 1.0, 1.0]


def islands(boxes, cells=14, c=8, noise=0.05, seed=0):
    """Maps (n, cells, cells, c) of one feature inside (n, 4) boxes, in cells, another
    outside, and noise."""
    rng = np.random.default_rng(seed)
    maps = noise * rng.normal(size=(len(boxes), cells, cells, c))
    for features, (top, left, bottom, right) in zip(maps, boxes, strict=True):
        features += rng.normal(size=c)
        features[top:bottom, left:right] += rng.normal(size=c)
    return maps.astype("float32")


def loop_share(features, box, grid):
    """Share of the variance of one map (h, w, c) that a square's inside and outside
    explain: by two means, weighted cell by cell, in float64."""
    h, w, c = features.shape
    cells = features.astype(float).reshape(-1, c)
    covered = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            high = min(box[2] / grid, (y + 1) / h) - max(box[0] / grid, y / h)
            wide = min(box[3] / grid, (x + 1) / w) - max(box[1] / grid, x / w)
            covered[y, x] = max(high, 0) * max(wide, 0) * h * w
    inside = covered.reshape(-1)
    mean = cells.mean(0)
    within = (inside[:, None] * cells).sum(0) / inside.sum()
    beyond = ((1 - inside)[:, None] * cells).sum(0) / (1 - inside).sum()
    between = inside.sum() * ((within - mean) ** 2).sum()
    between += (1 - inside).sum() * ((beyond - mean) ** 2).sum()
    return between / ((cells - mean) ** 2).sum()


def loop_box(maps, layer):
    """The box of one image: all squares, weighed one by one."""
    boxes, weights = [], []
    grid = layer.grid
    for side in range(int(np.ceil(layer.smallest * grid)), grid):
        for top in range(grid + 1 - side):
            for left in range(grid + 1 - side):
                box = (top, left, top + side, left + side)
                boxes.append(np.array(box) / grid)
                shares = [loop_share(m, box, grid) for m in maps]
                weights.append(np.prod(shares) ** layer.sharpness)
    return np.average(boxes, axis=0, weights=weights)


@pytest.mark.parametrize(
    "shapes, arguments",
    [
        ([(6, 6, 5)], {"grid": 6}),
        ([(4, 5, 6), (7, 3, 4)], {"grid": 8, "sharpness": 7.0, "smallest": 0.4}),
    ],
)
def test_boxes_equal_those_of_loops(shapes, arguments):
    layer = SeparationRegion(least=0.0, **arguments)
    maps = [blobs(3, *shape, seed=n) for n, shape in enumerate(shapes)]
    found = layer(*maps)
    for n, box in enumerate(found["boxes"].numpy()):
        np.testing.assert_allclose(
            box, loop_box([m[n] for m in maps], layer), atol=2e-5
        )
    saliency = found["saliency"].numpy()
    assert saliency.shape == (3, *shapes[0][:2]) and (saliency >= 0).all()
    np.testing.assert_allclose(saliency.sum((1, 2)), 1, rtol=1e-5)


ISLANDS = [(2, 3, 8, 9), (5, 1, 8, 4), (0, 0, 10, 10), (4, 9, 9, 14), (3, 2, 12, 11)]


def test_squares_of_every_size_and_place_are_found():
    expected = np.array(ISLANDS) / 14
    maps = islands(ISLANDS)
    found = SeparationRegion(multi_layer=False)(maps)
    np.testing.assert_allclose(found["boxes"], expected, atol=0.012)
    assert not found["fallback"].numpy().any()
    for saliency, (top, left, bottom, right) in zip(
        found["saliency"].numpy(), ISLANDS, strict=True
    ):
        assert saliency[top:bottom, left:right].sum() > 0.9
    fine = islands(2 * np.array(ISLANDS), cells=28)  # another grid for the middle map
    np.testing.assert_allclose(
        SeparationRegion()(maps, fine)["boxes"], expected, atol=0.012
    )
    many = islands(ISLANDS, c=512)  # projected
    np.testing.assert_allclose(SeparationRegion()(many)["boxes"], expected, atol=0.012)


def test_two_maps_agree_on_what_both_see():
    """Each map alone has two islands; one of them is in both."""
    both, only_last, only_middle = (2, 2, 6, 6), (8, 8, 13, 13), (8, 1, 13, 6)
    last = islands([both], noise=0) + islands([only_last], noise=0, seed=1)
    middle = islands([both], noise=0) + islands([only_middle], noise=0, seed=2)
    for alone in (last, middle):  # which is the larger of the two
        box = SeparationRegion()(alone)["boxes"].numpy()[0]
        assert np.abs(box - np.array(both) / 14).max() > 0.2
    box = SeparationRegion()(last, middle)["boxes"].numpy()[0]
    np.testing.assert_allclose(box, np.array(both) / 14, atol=0.03)


def test_what_makes_no_difference():
    maps, middle = blobs(4, 14, 14, 24), blobs(4, 14, 14, 12, seed=1)
    layer = SeparationRegion()
    boxes = layer(maps, middle)["boxes"].numpy()
    moved = layer(3 * maps + 5, 0.1 * middle - 1)["boxes"]
    np.testing.assert_allclose(moved, boxes, atol=1e-4)
    shuffled = layer(maps[..., ::-1], middle[..., ::-1])["boxes"]
    np.testing.assert_allclose(shuffled, boxes, atol=1e-4)
    flipped = layer(maps[:, :, ::-1], middle[:, :, ::-1])["boxes"].numpy()
    mirrored = np.stack([boxes[:, 0], 1 - boxes[:, 3], boxes[:, 2], 1 - boxes[:, 1]], 1)
    np.testing.assert_allclose(flipped, mirrored, atol=1e-4)
    turned = layer(maps.swapaxes(1, 2), middle.swapaxes(1, 2))["boxes"].numpy()
    np.testing.assert_allclose(turned, boxes[:, [1, 0, 3, 2]], atol=1e-4)
    alone = [
        layer(a[None], m[None])["boxes"][0] for a, m in zip(maps, middle, strict=True)
    ]
    np.testing.assert_allclose(alone, boxes, atol=1e-5)


def test_rounding_moves_boxes_little():
    maps, layer = blobs(64, 14, 14, 24), SeparationRegion(least=0.0)
    boxes = layer(maps)["boxes"].numpy()
    compiled = tf.function(layer, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(maps)["boxes"], boxes, atol=1e-5)
    half = layer(tf.cast(maps, tf.bfloat16))
    assert half["boxes"].dtype == half["saliency"].dtype == tf.float32
    assert np.abs(half["boxes"].numpy() - boxes).max() < 0.02


def test_maps_that_tell_nothing_give_the_whole_view():
    maps = islands(ISLANDS)
    kept = SeparationRegion()(maps)["boxes"].numpy()
    maps[0] = 300.0 + 1e-4 * maps[0]  # flat, but for what may be rounding
    maps[1, 2, 2, 3] = np.nan
    maps[2, 5, 5, 1] = np.inf
    maps[3] = np.random.default_rng(0).normal(size=maps[3].shape)  # no object
    found = SeparationRegion()(maps)
    assert found["fallback"].numpy().tolist() == [True] * 4 + [False]
    np.testing.assert_array_equal(found["boxes"][:4], [WHOLE] * 4)
    np.testing.assert_allclose(found["saliency"][:4], np.full((4, 14, 14), 1 / 196))
    np.testing.assert_allclose(found["boxes"][4], kept[4], atol=1e-6)
    flat_middle = SeparationRegion()(islands(ISLANDS), np.ones((5, 14, 14, 3), "f4"))
    assert flat_middle["fallback"].numpy().all()
    single = SeparationRegion()(np.ones((1, 1, 1, 8), "f4"))
    np.testing.assert_array_equal(single["boxes"], [WHOLE])
    assert SeparationRegion()(np.zeros((0, 7, 7, 4), "f4"))["boxes"].shape == (0, 4)


def test_least_is_a_share_of_variance():
    """Its bound lies between the shares of two maps."""
    clear, dim = islands([(2, 3, 8, 9)]), islands([(2, 3, 8, 9)], noise=3.0)
    shares = [loop_share(m[0], (2, 3, 8, 9), 14) for m in (clear, dim)]
    assert shares[0] > 0.9 and shares[1] < 0.4
    layer = SeparationRegion(least=0.5)
    assert layer(np.concatenate([clear, dim]))["fallback"].numpy().tolist() == [0, 1]


def test_margin_widens_within_the_view():
    maps = islands([(4, 5, 8, 9), (0, 0, 6, 6), (1, 1, 13, 13)])
    tight = SeparationRegion()(maps)["boxes"].numpy()
    wide = SeparationRegion(margin=1.5)(maps)["boxes"].numpy()
    side = tight[:, 2] - tight[:, 0]
    np.testing.assert_allclose(
        wide[:, 2] - wide[:, 0], np.minimum(1.5 * side, 1), atol=1e-5
    )
    centre = (tight[0, :2] + tight[0, 2:]) / 2
    np.testing.assert_allclose((wide[0, :2] + wide[0, 2:]) / 2, centre, atol=1e-5)
    assert wide.min() >= 0 and wide.max() <= 1 + 1e-6


def test_the_gradient_of_learned_channels_is_that_of_differences():
    maps, middle = blobs(2, 6, 6, 5), blobs(2, 6, 6, 4, seed=1)
    layer = SeparationRegion(learned=True, grid=6, least=0.0)
    plain = SeparationRegion(grid=6, least=0.0)(maps, middle)["boxes"]
    np.testing.assert_allclose(layer(maps, middle)["boxes"], plain, atol=1e-6)
    start = [np.random.default_rng(2).normal(0, 0.3, v.shape) for v in layer.weights]

    def objective():
        return tf.reduce_sum(layer(maps, middle)["boxes"] * [[1.0, 2.0, -1.0, 0.5]])

    layer.set_weights(start)
    values = [v.value for v in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = objective()
    gradients = tape.gradient(total, values)
    assert [len(g) for g in gradients] == [5, 4]
    for which, channel in ((0, 1), (0, 3), (1, 0), (1, 2)):
        ends = []
        for step in (-1e-2, 1e-2):
            moved = [w.copy() for w in start]
            moved[which][channel] += step
            layer.set_weights(moved)
            ends.append(objective().numpy())
        slope = (ends[1] - ends[0]) / 2e-2
        np.testing.assert_allclose(
            gradients[which][channel], slope, rtol=0.03, atol=1e-3
        )


def test_learned_channels_move_the_box_to_what_is_asked_for():
    """Two islands in two channels; the larger contrast wins until it is unlearned."""
    maps = np.zeros((1, 14, 14, 2), "float32")
    maps[0, 1:6, 1:6, 0], maps[0, 8:13, 8:13, 1] = 1.0, 0.8
    layer, optimizer = SeparationRegion(learned=True), keras.optimizers.Adam(0.05)
    first = layer(maps)["boxes"].numpy()[0]
    assert first[2] < 0.55
    wanted = np.array([[8, 8, 13, 13]], "float32") / 14
    values = layer.trainable_weights
    for _ in range(30):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((layer(maps)["boxes"] - wanted) ** 2)
        optimizer.apply(tape.gradient(loss, [v.value for v in values]), values)
    np.testing.assert_allclose(layer(maps)["boxes"], wanted, atol=0.03)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_learned_channels_of_other_types_look_at_the_same_place(dtype):
    maps = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    found = [
        SeparationRegion(learned=True, grid=6, dtype=d)(maps)["boxes"]
        for d in ("float32", dtype)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("learned", [False, True])
def test_features_get_no_gradient(learned):
    maps = tf.constant(blobs(2))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(SeparationRegion(learned=learned)(maps, maps)["boxes"])
    assert tape.gradient(total, maps) is None


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"sharpness": 0.0}, "sharpness=0.0: it must be above 0"),
        ({"margin": float("inf")}, "margin=inf"),
        ({"smallest": 0.0}, "smallest=0.0: it must be above 0 and at most 1"),
        ({"least": -0.1}, "least=-0.1: it must be from 0 to 1[.]"),
        ({"grid": 1}, "grid=1: it must be at least 2"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(UsageError, match=words):
        SeparationRegion(**arguments)


def test_a_grid_that_is_not_known():
    with pytest.raises(UsageError, match="all but b known"):
        SeparationRegion()(keras.Input((None, None, 8)))


def test_it_is_registered():
    assert REGION_RULES["separation"] is SeparationRegion
