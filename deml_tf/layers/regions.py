"""From a saliency map to the box of its largest region, exactly and in the graph.

The map stands for an image of `resolution` x `resolution` pixels, as in the release,
but that image is never made: a few of its pixels, the knots, are enough
(`deml_tf.layers.connectivity`).
"""

from typing import Any

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
WHOLE = np.array([0, 0, 1, 1], "float32")  # the box of the whole image
FLAT = 1e-5  # relative range of a map below which its differences may be rounding


def heights_above(
    maps: Any, rows: Axis, columns: Axis, threshold: float | None = None
) -> tf.Tensor:
    """Scale maps to 0..1 and subtract the threshold.

    Args:
        maps: (b, h, w) float32.
        rows: Pixels over h.
        columns: Pixels over w.
        threshold: In (0, 1); None, the default, for the mean of the pixels that the
            map stands for.

    Returns:
        (b, h, w) float32; 0 everywhere where a map is constant or not finite.
    """
    low = tf.reduce_min(maps, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(maps, axis=(1, 2), keepdims=True)
    scale = tf.maximum(tf.abs(low), tf.abs(high))
    is_usable = tf.math.is_finite(tf.reduce_sum(maps, axis=(1, 2), keepdims=True))
    is_usable &= high - low > FLAT * scale
    heights = tf.math.divide_no_nan(maps - low, high - low)
    if threshold is None:
        share = np.outer(rows.weights.mean(axis=0), columns.weights.mean(axis=0))
        heights -= tf.reduce_sum(heights * share, axis=(1, 2), keepdims=True)
    else:
        heights -= threshold
    return tf.where(is_usable, heights, tf.zeros_like(heights))


def region_sizes(labels: Any, heights: Any, rows: Axis, columns: Axis) -> tf.Tensor:
    """Count the pixels of every region.

    Args:
        labels: (b, k, l) int32, of the knots.
        heights: (b, p, l) float32, above the threshold, of all pixels of the knots'
            columns.
        rows: Where pixels p and knots k lie.
        columns: Where knots l lie.

    Returns:
        (b, k * l + 1) float32, by label; label 0 has no pixels.
    """
    _, height, width = labels.shape
    backward, forward = interior_runs(heights, columns.knots)
    pixels = tf.where(heights > 0, 1.0 + backward + forward, 0.0)
    # Every pixel above the threshold between two knots is of the region of one of them.
    stretch = (rows.before == np.arange(height)[:, None]).astype("float32")  # (k, p)
    below = tf.pad(labels[:, 1:], [[0, 0], [0, 1], [0, 0]])
    owners = tf.maximum(labels, below)
    batch, count = tf.shape(labels)[0], height * width + 1
    segments = owners + count * tf.range(batch)[:, None, None]
    sizes = tf.math.unsorted_segment_sum(
        tf.reshape(stretch @ pixels, (-1,)), tf.reshape(segments, (-1,)), batch * count
    )
    # Where no knot is above the threshold, a pixel may still be, by rounding.
    has_label = (np.arange(count) > 0).astype("float32")
    return tf.reshape(sizes, (-1, count)) * has_label


def first_region(
    is_candidate: Any,
    labels: Any,
    tops: Any,
    heights: Any,
    columns: Axis,
) -> tf.Tensor:
    """Find the region whose first pixel comes first in raster order.

    Args:
        is_candidate: (b, k, l) boolean, the knots of the regions to choose from.
        labels: (b, k, l) int32, of the knots.
        tops: (b, k, l) int32, the first row of each knot's run of pixels in its column.
        heights: (b, p, l) float32, as for `region_sizes`.
        columns: Where knots l lie.

    Returns:
        (b,) int32, a label; -1 where there is no candidate.
    """
    count = labels.shape[1] * labels.shape[2]
    tops = tf.where(is_candidate, tops, heights.shape[1])
    top = tf.reduce_min(tops, axis=(1, 2))
    row = tf.gather(heights, tf.minimum(top, heights.shape[1] - 1), batch_dims=1)
    backward, _ = interior_runs(row, columns.knots)
    left = (columns.knots - backward)[:, None]  # (b, 1, l)
    left = tf.where(is_candidate & (tops == top[:, None, None]), left, np.inf)
    first = tf.argmin(tf.reshape(left, (-1, count)), axis=1)
    label = tf.gather(tf.reshape(labels, (-1, count)), first, batch_dims=1)
    return tf.where(tf.reduce_any(is_candidate, axis=(1, 2)), label, -1)


def largest_region(
    maps: Any, resolution: int = 227, threshold: float | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the extents of the largest 8-connected region above the threshold.

    Exact: the result is that of labelling all `resolution`^2 pixels of the bilinearly
    resized map (half-pixel centres), up to rounding of pixels that equal the threshold.

    Args:
        maps: (b, h, w) float32, h and w static.
        resolution: Side in pixels of the image that the map stands for; default 227.
        threshold: As a share of the range of the map, in (0, 1); None, the default, for
            the mean of the pixels.

    Returns:
        `extents` (b, 4) int32, ymin, xmin, ymax, xmax in pixels, the last two one past
        the end; `sizes` (b,) int32, its number of pixels, 0 for a map that is constant
        or not finite. Largest means most pixels; of ties, the first in raster order.
    """
    _, h, w = maps.shape
    rows, columns = pixel_axis(h, resolution), pixel_axis(w, resolution)
    heights = heights_above(maps, rows, columns, threshold)
    # The image's columns that hold knots. p: pixel; k, l: knots.
    at_columns = rows.weights @ heights @ columns.weights[columns.knots].T  # (b, p, l)
    at_knots = tf.gather(at_columns, rows.knots, axis=1)  # (b, k, l)
    links = diagonal_links(at_knots, rows.knots, columns.knots)
    labels = label_regions(at_knots > 0, *links)
    tops, bottoms = _runs(tf.transpose(at_knots, (0, 2, 1)), rows)
    tops, bottoms = tf.transpose(tops, (0, 2, 1)), tf.transpose(bottoms, (0, 2, 1))
    lefts, rights = _runs(at_knots, columns)

    sizes = region_sizes(labels, at_columns, rows, columns)
    size = tf.reduce_max(sizes, axis=1, keepdims=True)
    is_largest = tf.gather(sizes == size, labels, batch_dims=1) & (labels > 0)
    winner = first_region(is_largest, labels, tops, at_columns, columns)
    is_member = labels == winner[:, None, None]
    ymin = tf.reduce_min(tf.where(is_member, tops, resolution), axis=(1, 2))
    xmin = tf.reduce_min(tf.where(is_member, lefts, resolution), axis=(1, 2))
    ymax = tf.reduce_max(tf.where(is_member, bottoms, 0), axis=(1, 2))
    xmax = tf.reduce_max(tf.where(is_member, rights, 0), axis=(1, 2))
    return tf.stack([ymin, xmin, ymax, xmax], axis=1), tf.cast(size[:, 0], tf.int32)


def _runs(heights: Any, axis: Axis):
    """Return the first and one past the last pixel of each knot's run."""
    backward, forward = interior_runs(heights, axis.knots)
    first = tf.cast(axis.knots - backward, tf.int32)
    return first, tf.cast(axis.knots + 1.0 + forward, tf.int32)


def square_boxes(extents: Any, border: str = "shift") -> tf.Tensor:
    """Make relative boxes square: same centre, side = (width + height) / 2.

    Args:
        extents: (b, 4) float32, ymin, xmin, ymax, xmax relative to the image.
        border: "shift" (default) moves a square that crosses the border back inside;
            "clip" cuts it there, so that it is no longer square, as the release does.

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


def region_boxes(
    maps: Any,
    resolution: int = 227,
    border: str = "shift",
    threshold: float | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the box of what stands out in each map.

    Scaling to 0..1, bilinear resize, pixels above the threshold (by default the mean),
    largest 8-connected region, its bounding box made square (the map-to-box rule of
    object attention in the release).

    Args:
        maps: (b, h, w) float32, h and w static, not necessarily equal.
        resolution: Side in pixels of the image that the map stands for; default 227.
        border: "shift" (default) or "clip", see `square_boxes`.
        threshold: See `largest_region`.

    Returns:
        `boxes` (b, 4) float32, ymin, xmin, ymax, xmax relative to the image; `found`
        (b,) boolean, false where the map is constant or not finite: the box is then
        the whole image.

    Raises:
        UsageError: For an unknown border, a resolution below one, or unknown h or w.

    Departures from the release: the map stays in floats, whereas the release truncates
    it to 8 bits; and "shift" is the default.
    """
    check_region_arguments(resolution, border)
    if maps.shape.rank != 3 or None in maps.shape[1:]:
        raise UsageError(
            f"maps have shape {maps.shape}; give (b, h, w) with h and w known."
        )
    extents, sizes = largest_region(tf.cast(maps, tf.float32), resolution, threshold)
    found = sizes > 0
    boxes = square_boxes(tf.cast(extents, tf.float32) / float(resolution), border)
    return tf.where(found[:, None], boxes, WHOLE), found


def check_region_arguments(resolution: int, border: str) -> None:
    """Refuse an unknown border, and a resolution below one pixel.

    Args:
        resolution: Side of the image in pixels.
        border: "shift" or "clip".

    Raises:
        UsageError: If either is not allowed.
    """
    if border not in BORDERS:
        raise UsageError(f"border={border!r} is unknown; use one of {BORDERS}.")
    if resolution < 1:
        raise UsageError(f"resolution={resolution} is no image; use at least 1.")
