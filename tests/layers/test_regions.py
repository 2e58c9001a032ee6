import cv2
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.connectivity import pixel_axis
from deml_tf.layers.regions import largest_region, region_boxes, square_boxes

find = tf.function(largest_region, autograph=False, reduce_retracing=False)


def labelled(mask):
    """Extents and size of the largest region, by scipy."""
    labels, count = scipy.ndimage.label(mask, np.ones((3, 3)))
    if count == 0:
        return (mask.shape[0], mask.shape[1], 0, 0), 0
    sizes = np.bincount(labels.ravel())[1:]
    ys, xs = np.nonzero(labels == sizes.argmax() + 1)
    return (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1), sizes.max()


def resized(values, resolution):
    """Bilinear resize with half-pixel centres, in float64, pixel by pixel."""

    def lerp(values, side):
        source = (np.arange(resolution) + 0.5) * side / resolution - 0.5
        source = np.clip(source, 0, side - 1)
        low = np.minimum(source.astype(int), max(side - 2, 0))
        high = np.minimum(low + 1, side - 1)
        part = (source - low)[:, None]
        return values[low] * (1 - part) + values[high] * part

    rows = lerp(np.asarray(values, np.float64), values.shape[0])
    return lerp(rows.T, values.shape[1]).T


def spiral(side):
    """A path one pixel wide, one pixel from itself, from the corner to the centre."""
    mask = np.zeros((side, side), np.float32)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0] = 1
    turns = 0
    while turns < 2:
        y2, x2, y3, x3 = y + dy, x + dx, y + 2 * dy, x + 2 * dx
        is_free = 0 <= y2 < side and 0 <= x2 < side and not mask[y2, x2]
        is_open = not (0 <= y3 < side and 0 <= x3 < side) or not mask[y3, x3]
        if is_free and is_open:
            y, x, turns = y2, x2, 0
            mask[y, x] = 1
        else:
            dy, dx, turns = dx, -dy, turns + 1
    return mask


def agree(maps, resolution, slack, threshold=None):
    """Compares with scipy; returns how many regions there are on average."""
    extents, sizes = find(tf.constant(maps, tf.float32), resolution, threshold)
    total = 0
    for values, extent, size in zip(maps, extents.numpy(), sizes.numpy(), strict=True):
        heights = resized(values, resolution)
        if threshold is None:
            heights -= heights.mean()
        else:
            heights -= values.min() + threshold * np.ptp(values)
        expected, expected_size = labelled(heights > 0)
        total += scipy.ndimage.label(heights > 0, np.ones((3, 3)))[1]
        at_mean = (np.abs(heights) < slack * np.abs(heights).max()).sum()
        if at_mean == 0:
            assert size == expected_size
        if at_mean == 0 or abs(int(size) - int(expected_size)) <= at_mean:
            assert tuple(extent) == expected
        else:
            pytest.fail(f"{size} pixels for {expected_size}")
    return total / len(maps)


@pytest.mark.parametrize("density", [0.2, 0.45, 0.55, 0.7])
@pytest.mark.parametrize("side", [7, 10, 14])
def test_masks_equal_scipy(side, density):
    # An image as large as its grid: every pixel is a knot, any mask is possible.
    rng = np.random.default_rng(side)
    masks = (rng.random((500, side, side)) < density).astype("float32")
    masks[:, 0, 0], masks[:, -1, -1] = 1, 0  # never constant
    agree(masks, side, slack=0.0)


@pytest.mark.parametrize("side", [7, 14, 31])
def test_spirals_equal_scipy(side):
    path = spiral(side)
    masks = np.stack([path, path[::-1], path.T, path[:, ::-1]])
    cut = masks.copy()
    cut[np.arange(4), (0, side - 1, 3, 0), (3, 3, 0, 3)] = 0
    masks = np.concatenate([masks, cut])
    assert masks[0].sum() > side**2 / 3
    assert agree(masks, side, slack=0.0) == 1.5  # whole ones and ones in two pieces


@pytest.mark.parametrize(
    ("h", "w", "resolution", "count"),
    [(7, 7, 227, 200), (14, 14, 227, 40), (10, 10, 160, 100), (5, 9, 64, 300)]
    + [(7, 7, 33, 500), (7, 7, 5, 300), (1, 6, 20, 100), (7, 7, 14, 500)],
)
def test_maps_equal_scipy_on_all_pixels(h, w, resolution, count):
    rng = np.random.default_rng(1)
    power = rng.choice([0.3, 1, 3], (count, 1, 1))
    regions = agree(rng.random((count, h, w)) ** power, resolution, slack=1e-6)
    assert regions > 1.5  # else there was nothing to choose


def test_saddles_join_regions_as_pixels_do():
    # [[1, b], [0, e]]: saddle at e / (1 + e - b), mean near (1 + b + e) / 4. No pixel
    # lies in the middle, where the image equals its mean.
    rng = np.random.default_rng(2)
    maps = np.zeros((400, 2, 2))
    maps[:, 0, 0] = 1
    maps[:, 0, 1] = rng.uniform(-0.3, 0.3, 400)
    maps[:, 1, 1] = rng.uniform(0.7, 1.3, 400)
    maps[::2] = maps[::2, :, ::-1]
    regions = agree(maps, 60, slack=1e-6)
    assert 1.05 < regions < 1.95  # some meet and some do not


def test_ties_go_to_the_first_in_raster_order():
    maps = np.zeros((3, 5, 5), np.float32)
    maps[:, 0, 4] = maps[:, 4, 0] = 1
    maps[1, 2, 2] = 1
    maps[2, 0, 0] = 1
    extents, sizes = find(tf.constant(maps), 5)
    np.testing.assert_array_equal(sizes, 1)
    np.testing.assert_array_equal(extents[:, 1], [4, 4, 0])
    np.testing.assert_array_equal(extents[:, 0], [0, 0, 0])


def test_pixel_axis_is_half_pixel_bilinear():
    axis = pixel_axis(7, 227)
    expected = tf.image.resize(np.eye(7, dtype="float32")[None, ..., None], (227, 7))
    np.testing.assert_allclose(axis.weights, expected[0, ..., 0], atol=2e-6)
    assert len(axis.knots) == 16 and axis.knots[0] == 0 and axis.knots[-1] == 226


@pytest.mark.parametrize(
    ("extent", "shift", "clip"),
    [
        ([0.2, 0.3, 0.6, 0.7], [0.2, 0.3, 0.6, 0.7], [0.2, 0.3, 0.6, 0.7]),
        ([0.0, 0.4, 0.2, 0.8], [0.0, 0.45, 0.3, 0.75], [0.0, 0.45, 0.25, 0.75]),
        ([0.4, 0.9, 0.8, 1.0], [0.475, 0.75, 0.725, 1.0], [0.475, 0.825, 0.725, 1.0]),
        ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]),
    ],
)
def test_squares_and_borders(extent, shift, clip):
    for border, expected in [("shift", shift), ("clip", clip)]:
        box = square_boxes(tf.constant([extent]), border)
        np.testing.assert_allclose(box[0], expected, atol=1e-6)


def test_boxes_are_inside_and_square_when_shifted():
    maps = np.random.default_rng(3).random((300, 7, 7)) ** 4
    boxes, found = region_boxes(tf.constant(maps, tf.float32), 227, "shift")
    boxes = boxes.numpy()
    assert found.numpy().all() and boxes.min() >= 0 and boxes.max() <= 1
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-6)
    assert sides.min() > 0
    clipped = region_boxes(tf.constant(maps, tf.float32), 227, "clip")[0].numpy()
    assert clipped.min() >= 0 and clipped.max() <= 1


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.65, 0.9])
@pytest.mark.parametrize(
    ("h", "w", "resolution"), [(7, 7, 227), (14, 14, 64), (3, 5, 50)]
)
def test_regions_above_a_share_of_the_range(h, w, resolution, threshold):
    maps = np.random.default_rng(7).random((40, h, w))
    agree(maps, resolution, 1e-5, threshold)


def test_above_almost_all_there_may_be_no_pixel():
    maps = np.zeros((1, 4, 4), "float32")
    maps[0, 1, 1] = 1
    boxes, found = region_boxes(tf.constant(maps), 6, threshold=0.9)
    assert not found.numpy().any()
    np.testing.assert_array_equal(boxes, [[0, 0, 1, 1]])


def test_maps_without_a_region_give_the_whole_image():
    maps = np.random.default_rng(4).random((6, 7, 7)).astype("float32")
    maps[0] = 0
    maps[1] = 1 / 49
    maps[2, 3, 3] = np.nan
    maps[3, 0, 0] = np.inf
    maps[4] = 1 + 1e-7 * maps[4]
    boxes, found = region_boxes(tf.constant(maps))
    np.testing.assert_array_equal(found, [False] * 5 + [True])
    np.testing.assert_array_equal(boxes[:5], [[0, 0, 1, 1]] * 5)
    alone, _ = region_boxes(tf.constant(maps[5:]))
    np.testing.assert_array_equal(boxes[5:], alone)  # neighbours do no harm


def test_xla_agrees_with_eager_and_empty_batches_pass():
    maps = tf.constant(np.random.default_rng(5).random((20, 7, 7)), tf.float32)
    compiled = tf.function(largest_region, jit_compile=True)
    for eager, xla in zip(largest_region(maps), compiled(maps), strict=True):
        np.testing.assert_array_equal(eager, xla)
    boxes, found = region_boxes(tf.zeros((0, 7, 7)))
    assert boxes.shape == (0, 4) and found.shape == (0,)


def test_opencv_finds_the_same_region():
    maps = np.random.default_rng(6).random((50, 7, 7)).astype("float32")
    extents, sizes = find(tf.constant(maps), 227)
    for values, extent, size in zip(maps, extents, sizes, strict=True):
        image = cv2.resize(values, (227, 227), interpolation=cv2.INTER_LINEAR)
        mask = (image > image.mean()).astype("uint8")
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        x, y, width, height, area = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
        assert abs(area - int(size)) <= 3
        np.testing.assert_allclose(extent, (y, x, y + height, x + width), atol=1)


@pytest.mark.parametrize(
    ("maps", "arguments", "said"),
    [
        (tf.zeros((1, 7, 7)), {"border": "wrap"}, "wrap"),
        (tf.zeros((1, 7, 7)), {"resolution": 0}, "resolution=0"),
        (tf.zeros((7, 7)), {}, "shape"),
    ],
)
def test_wrong_arguments_are_named(maps, arguments, said):
    with pytest.raises(UsageError, match=said):
        region_boxes(maps, **arguments)
