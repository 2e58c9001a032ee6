"""From a saliency map to the box of its largest region, exactly and without a host.

The map is read as a picture of `resolution` x `resolution` pixels, as the release does,
but that picture is never made. Between two neighbouring grid points the resized map is
bilinear, so on a rectangle of pixels that lies within one grid cell

* pixels in a row above the mean form a run that touches the rectangle's left or right
  edge, pixels of that edge above the mean a run that touches one of its corners: every
  region of pixels contains a *knot*, the corner pixel of some cell, and belongs to it;
* two corners of one edge that are both above the mean are joined by that edge; two
  opposite corners alone above it are joined if and only if the two pixels next to the
  saddle point, in their direction, are above it too.

So 8-connectivity of all the pixels equals connectivity of the knots, two per axis and
cell: 16 x 16 of them for a 7 x 7 map. Sizes and extents follow from lengths of runs.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deml_tf.errors import UsageError

BORDERS = ("shift", "clip")
FLAT = 1e-5  # a relative range of float32 sums that says nothing


class Axis(NamedTuple):
    """How pixels of one axis lie on its grid: constants, known before any map."""

    weights: np.ndarray  # (pixels, side), bilinear, half-pixel centres
    knots: np.ndarray  # (knots,), the first and last pixel of every cell
    before: np.ndarray  # (pixels,), number of the last knot at or before a pixel
    after: np.ndarray  # (pixels,), number of the first knot at or after a pixel


@functools.lru_cache(maxsize=64)
def pixel_axis(side: int, resolution: int) -> Axis:
    """Lays `resolution` pixels over `side` grid points.

    Args:
        side: Number of grid points.
        resolution: Number of pixels.

    Returns:
        The axis; arrays are read-only by convention, as they are cached.
    """
    pixels = np.arange(resolution)
    source = (pixels + 0.5) * side / resolution - 0.5
    cell = np.floor(source)
    source = np.clip(source, 0.0, side - 1.0)
    weights = np.maximum(0.0, 1.0 - np.abs(source[:, None] - np.arange(side)))
    opens = np.append(True, cell[1:] != cell[:-1])
    knots = np.flatnonzero(opens | np.append(opens[1:], True))
    before = np.searchsorted(knots, pixels, side="right") - 1
    after = np.searchsorted(knots, pixels, side="left")
    return Axis(weights.astype("float32"), knots, before, after)


def interior_runs(values, knots):
    """Counts, between neighbouring knots of a row, the pixels that belong to each.

    Args:
        values: (..., knots), heights above the threshold.
        knots: (knots,), pixel positions.

    Returns:
        Two (..., knots) float tensors: pixels above the threshold between a knot and
        the one before it, and between it and the one after, that are joined to it. Runs
        that span the gap are given to the earlier knot.
    """
    gap = tf.constant(np.diff(knots), values.dtype)
    left, right = values[..., :-1], values[..., 1:]
    drop = tf.abs(left - right)
    crossing = tf.math.divide_no_nan(tf.maximum(left, right), drop) * gap
    run = tf.clip_by_value(tf.math.ceil(crossing) - 1.0, 0.0, gap - 1.0)
    zero = tf.zeros_like(run)
    forward = tf.where(left > 0, tf.where(right > 0, zero + gap - 1.0, run), zero)
    backward = tf.where((right > 0) & (left <= 0), run, zero)
    edge = [[0, 0]] * (len(values.shape) - 1)
    return tf.pad(backward, [*edge, [1, 0]]), tf.pad(forward, [*edge, [0, 1]])


def diagonal_links(values, row_knots, column_knots):
    """Finds opposite corners that meet at the saddle of the rectangle between knots.

    Args:
        values: (b, rows, columns), heights above the threshold at the knots.
        row_knots: (rows,), pixel positions.
        column_knots: (columns,), pixel positions.

    Returns:
        Two (b, rows - 1, columns - 1) boolean tensors, the falling and the rising
        diagonal; never true where another corner joins the two anyway.
    """
    height = tf.constant(np.diff(row_knots)[:, None], values.dtype)
    width = tf.constant(np.diff(column_knots)[None, :], values.dtype)
    a, b = values[:, :-1, :-1], values[:, :-1, 1:]
    c, d = values[:, 1:, :-1], values[:, 1:, 1:]
    twist = a + d - b - c
    saddle_x = tf.floor(tf.math.divide_no_nan(a - c, twist) * width)
    saddle_y = tf.floor(tf.math.divide_no_nan(a - b, twist) * height)
    saddle_x = tf.clip_by_value(saddle_x, 0.0, width - 1.0)
    saddle_y = tf.clip_by_value(saddle_y, 0.0, height - 1.0)

    def is_above(y, x):
        v, u = y / height, x / width
        return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d) > 0

    falling = (a > 0) & (d > 0) & (b <= 0) & (c <= 0)
    falling &= is_above(saddle_y, saddle_x) & is_above(saddle_y + 1, saddle_x + 1)
    rising = (b > 0) & (c > 0) & (a <= 0) & (d <= 0)
    rising &= is_above(saddle_y, saddle_x + 1) & is_above(saddle_y + 1, saddle_x)
    return falling, rising


def label_regions(above, falling, rising):
    """Gives every knot the largest number of a knot in its region; 0 outside any.

    Knots of one label are a group, each knot its own at first. In a round every group
    takes the largest label next to any of its knots, and groups that did so in a row
    fall together: the number of rounds grows about as the logarithm of a region's
    length, and is bounded by the number of knots.

    Args:
        above: (b, rows, columns) boolean.
        falling: (b, rows - 1, columns - 1) boolean, links (r, c) to (r + 1, c + 1).
        rising: (b, rows - 1, columns - 1) boolean, links (r, c + 1) to (r + 1, c).

    Returns:
        (b, rows, columns) int32.
    """
    rows, columns = above.shape[1], above.shape[2]
    count = rows * columns
    inside = tf.cast(above, tf.int32)
    falling, rising = tf.cast(falling, tf.int32), tf.cast(rising, tf.int32)
    start = inside * tf.reshape(tf.range(1, count + 1), (1, rows, columns))
    batch = tf.shape(above)[0]
    segments = batch * (count + 1)
    offset = (count + 1) * tf.range(batch)[:, None, None]

    def spread(labels, _):
        around = tf.pad(labels, [[0, 0], [1, 1], [1, 1]])
        best = tf.maximum(labels, around[:, :-2, 1:-1])
        best = tf.maximum(best, around[:, 2:, 1:-1])
        best = tf.maximum(best, around[:, 1:-1, :-2])
        best = tf.maximum(best, around[:, 1:-1, 2:]) * inside
        down = tf.pad(falling * labels[:, :-1, :-1], [[0, 0], [1, 0], [1, 0]])
        up = tf.pad(falling * labels[:, 1:, 1:], [[0, 0], [0, 1], [0, 1]])
        best = tf.maximum(best, tf.maximum(down, up))
        down = tf.pad(rising * labels[:, :-1, 1:], [[0, 0], [1, 0], [0, 1]])
        up = tf.pad(rising * labels[:, 1:, :-1], [[0, 0], [0, 1], [1, 0]])
        best = tf.maximum(best, tf.maximum(down, up))
        groups = tf.math.unsorted_segment_max(
            tf.reshape(best, (-1,)), tf.reshape(labels + offset, (-1,)), segments
        )
        moved = labels
        for _ in range(3):
            moved = tf.gather(groups, moved + offset) * inside
        return moved, tf.reduce_any(moved != labels)

    labels, _ = tf.while_loop(
        lambda labels, moving: moving,
        spread,
        (start, tf.constant(True)),
        shape_invariants=(tf.TensorShape((None, rows, columns)), tf.TensorShape(())),
        maximum_iterations=count,
    )
    return labels


def heights_above_mean(maps, rows: Axis, columns: Axis):
    """Min-maxes maps and takes off the mean of the pixels they are read as.

    Args:
        maps: (b, h, w) float32.
        rows: Pixels over h.
        columns: Pixels over w.

    Returns:
        (b, h, w) float32; 0 everywhere where a map is constant or not finite.
    """
    low = tf.reduce_min(maps, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(maps, axis=(1, 2), keepdims=True)
    scale = tf.maximum(tf.abs(low), tf.abs(high))
    is_usable = tf.math.is_finite(tf.reduce_sum(maps, axis=(1, 2), keepdims=True))
    is_usable &= high - low > FLAT * scale
    heights = tf.math.divide_no_nan(maps - low, high - low)
    share = np.outer(rows.weights.mean(axis=0), columns.weights.mean(axis=0))
    heights -= tf.reduce_sum(heights * share, axis=(1, 2), keepdims=True)
    return tf.where(is_usable, heights, tf.zeros_like(heights))


def region_sizes(labels, pixels, rows: Axis):
    """Adds up the pixels of every region.

    Args:
        labels: (b, k, l) int32, of the knots.
        pixels: (b, p, l) float32, in row p the pixels that belong to the knot column l.
        rows: Where rows p lie between the knots k.

    Returns:
        (b, k * l + 1) float32, by label; label 0 has no pixels.
    """
    _, height, width = labels.shape
    knot = np.arange(height)
    before = (rows.before[:, None] == knot).astype("float32")  # (p, k)
    after = (rows.after[:, None] == knot).astype("float32")
    joins_before = tf.cast(tf.gather(labels, rows.before, axis=1) > 0, tf.float32)
    at_knots = tf.einsum("bpl,pk->bkl", pixels * joins_before, before)
    at_knots += tf.einsum("bpl,pk->bkl", pixels * (1.0 - joins_before), after)
    batch, count = tf.shape(labels)[0], height * width + 1
    segments = labels + count * tf.range(batch)[:, None, None]
    sizes = tf.math.unsorted_segment_sum(
        tf.reshape(at_knots, (-1,)), tf.reshape(segments, (-1,)), batch * count
    )
    return tf.reshape(sizes, (-1, count))


def largest_region(maps, resolution: int = 227):
    """Finds the extents of the largest 8-connected region above the mean.

    Exact: what labelling all `resolution`^2 pixels of the bilinearly resized map
    (half-pixel centres) gives, up to rounding of pixels that equal the mean.

    Args:
        maps: (b, h, w) float32, h and w static.
        resolution: Side of the picture the map is read as, in pixels.

    Returns:
        `extents` (b, 4) int32, ymin, xmin, ymax, xmax in pixels, the last two one past
        the end; `sizes` (b,) int32, its number of pixels, 0 for a map that is constant
        or not finite. Largest means most pixels; of equals, the first in raster order.
    """
    _, h, w = maps.shape
    rows, columns = pixel_axis(h, resolution), pixel_axis(w, resolution)
    heights = heights_above_mean(maps, rows, columns)
    # The picture's columns, then its rows, that hold knots. p: pixel; k, l: knots.
    at_columns = rows.weights @ heights @ columns.weights[columns.knots].T  # (b, p, l)
    at_rows = rows.weights[rows.knots] @ heights @ columns.weights.T  # (b, k, p)
    at_knots = tf.gather(at_columns, rows.knots, axis=1)
    links = diagonal_links(at_knots, rows.knots, columns.knots)
    labels = label_regions(at_knots > 0, *links)  # (b, k, l)
    row_labels = _between(labels, rows, axis=1) * tf.cast(at_columns > 0, tf.int32)
    column_labels = _between(labels, columns, axis=2) * tf.cast(at_rows > 0, tf.int32)

    backward, forward = interior_runs(at_columns, columns.knots)
    pixels = tf.where(row_labels > 0, 1.0 + backward + forward, 0.0)
    sizes = region_sizes(labels, pixels, rows)
    size = tf.reduce_max(sizes, axis=1, keepdims=True)
    is_largest = tf.gather(sizes == size, row_labels, batch_dims=1) & (row_labels > 0)
    first = columns.knots - backward + resolution * np.arange(resolution)[:, None]
    first = tf.where(is_largest, first, float(resolution**2))
    count = resolution * len(columns.knots)
    winner = tf.argmin(tf.reshape(first, (-1, count)), axis=1)
    winner = tf.gather(tf.reshape(row_labels, (-1, count)), winner, batch_dims=1)
    winner = tf.where(winner > 0, winner, -1)[:, None, None]  # -1: there is none
    ymin, ymax = _extent(tf.reduce_any(row_labels == winner, axis=2), resolution)
    xmin, xmax = _extent(tf.reduce_any(column_labels == winner, axis=1), resolution)
    return tf.stack([ymin, xmin, ymax, xmax], axis=1), tf.cast(size[:, 0], tf.int32)


def _between(labels, pixels: Axis, axis: int):
    """Labels of pixels above the threshold between knots, from either knot's."""
    before = tf.gather(labels, pixels.before, axis=axis)
    return tf.maximum(before, tf.gather(labels, pixels.after, axis=axis))


def _extent(is_member, pixels):
    """First and one past the last true position of each row of (b, p)."""
    position = tf.range(pixels)
    first = tf.reduce_min(tf.where(is_member, position, pixels), axis=1)
    last = tf.reduce_max(tf.where(is_member, position + 1, 0), axis=1)
    return first, last


def square_boxes(extents, border: str = "shift"):
    """Makes relative boxes square: same centre, side = (width + height) / 2.

    Args:
        extents: (b, 4) float32, ymin, xmin, ymax, xmax relative to the picture.
        border: "shift" moves a square that crosses the border back inside; "clip" cuts
            it there, out of shape, as the release does.

    Returns:
        (b, 4) float32 within [0, 1].
    """
    corner, opposite = extents[:, :2], extents[:, 2:]
    side = tf.reduce_mean(opposite - corner, axis=1, keepdims=True)
    side = tf.minimum(side, 1.0)
    start = (corner + opposite - side) / 2.0
    if border == "shift":
        start = tf.clip_by_value(start, 0.0, 1.0 - side)
    return tf.clip_by_value(tf.concat([start, start + side], axis=1), 0.0, 1.0)


def region_boxes(maps, resolution: int = 227, border: str = "shift"):
    """Cuts the box of what stands out in each map.

    Min-max, bilinear resize, pixels above the mean, largest 8-connected region, its
    bounding box made square (object attention's map to box in the authors' release).

    Args:
        maps: (b, h, w) float32, h and w static, not necessarily equal.
        resolution: Side of the picture the map is read as, in pixels.
        border: "shift" or "clip", see `square_boxes`.

    Returns:
        `boxes` (b, 4) float32, ymin, xmin, ymax, xmax relative to the picture; `found`
        (b,) boolean, false where the map is constant or not finite: the box is whole.

    Raises:
        UsageError: For an unknown border, a resolution below one, or unknown h or w.

    Departures from the release: floats where it truncates the map to 8 bit; "shift".
    """
    check_region_arguments(resolution, border)
    if maps.shape.rank != 3 or None in maps.shape[1:]:
        raise UsageError(
            f"maps have shape {maps.shape}; give (b, h, w) with h and w known."
        )
    extents, sizes = largest_region(tf.cast(maps, tf.float32), resolution)
    found = sizes > 0
    boxes = square_boxes(tf.cast(extents, tf.float32) / float(resolution), border)
    whole = tf.constant([[0.0, 0.0, 1.0, 1.0]])
    return tf.where(found[:, None], boxes, whole), found


def check_region_arguments(resolution: int, border: str) -> None:
    """Refuses a border that is not known and a resolution that is no picture.

    Args:
        resolution: Side of the picture in pixels.
        border: "shift" or "clip".

    Raises:
        UsageError: If either is not allowed.
    """
    if border not in BORDERS:
        raise UsageError(f"border={border!r} is unknown; use one of {BORDERS}.")
    if resolution < 1:
        raise UsageError(f"resolution={resolution} is no picture; use at least 1.")
