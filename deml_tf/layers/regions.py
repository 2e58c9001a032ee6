"""From a saliency map to the box of its largest region, exactly and without a host.

The map is read as a picture of `resolution` x `resolution` pixels, as the release does,
but that picture is never made: `connectivity` says why its knots are enough.
"""

import numpy as np
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.connectivity import (
    Axis,
    diagonal_links,
    interior_runs,
    label_regions,
    pixel_axis,
)

BORDERS = ("shift", "clip")
FLAT = 1e-5  # a relative range of float32 sums that says nothing


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
