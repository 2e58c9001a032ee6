"""Find the regions of a bilinearly resized map from a few of its pixels.

Between neighbouring grid points the resized map is bilinear, so on a rectangle of
pixels that lies within one grid cell

* the pixels of a row above the threshold form a run that touches the rectangle's left
  or right edge, and the pixels of that edge above it form a run that touches one of its
  corners: so every region contains a *knot*, the corner pixel of some cell;
* two corners of one edge that are both above the threshold are joined by that edge; if
  only two opposite corners are above it, they are joined if and only if the two pixels
  next to the saddle point, in their direction, are above it too.

So 8-connectivity of all the pixels equals connectivity of the knots, two per axis and
cell: 16 x 16 of them for a 7 x 7 map. Sizes and extents follow from lengths of runs.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Axis(NamedTuple):
    """Where the pixels of one axis lie on its grid, the same for all maps."""

    weights: np.ndarray  # (pixels, side), bilinear, half-pixel centres
    knots: np.ndarray  # (knots,), the first and last pixel of every cell
    before: np.ndarray  # (pixels,), index of the last knot at or before a pixel
    after: np.ndarray  # (pixels,), index of the first knot at or after a pixel


@functools.lru_cache(maxsize=64)
def pixel_axis(side: int, resolution: int) -> Axis:
    """Lay `resolution` pixels over `side` grid points.

    Args:
        side: Number of grid points.
        resolution: Number of pixels.

    Returns:
        The axis. It is cached: do not write to its arrays.
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


def interior_runs(values: Any, knots: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """Count, between neighbouring knots of a row, the pixels that belong to each.

    Args:
        values: (..., knots), heights above the threshold.
        knots: (knots,), pixel positions.

    Returns:
        Two (..., knots) float tensors: how many pixels above the threshold are joined
        to each knot, between it and the knot before, and between it and the knot after.
        A run that spans the gap counts for the earlier knot.
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


def diagonal_links(
    values: Any, row_knots: np.ndarray, column_knots: np.ndarray
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find opposite corners that meet at the saddle of the rectangle between knots.

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

    def is_above(y: Any, x: Any):
        v, u = y / height, x / width
        return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d) > 0

    falling = (a > 0) & (d > 0) & (b <= 0) & (c <= 0)
    falling &= is_above(saddle_y, saddle_x) & is_above(saddle_y + 1, saddle_x + 1)
    rising = (b > 0) & (c > 0) & (a <= 0) & (d <= 0)
    rising &= is_above(saddle_y, saddle_x + 1) & is_above(saddle_y + 1, saddle_x)
    return falling, rising


def label_regions(above: Any, falling: Any, rising: Any) -> tf.Tensor:
    """Label every knot with the largest number of a knot in its region, 0 outside.

    Knots with the same label form a group; at first each knot is a group of its own. In
    each round every group takes the largest label next to any of its knots, and chains
    of such groups merge. The number of rounds grows roughly with the logarithm of a
    region's length, and is at most the number of knots.

    Args:
        above: (b, rows, columns) boolean.
        falling: (b, rows - 1, columns - 1) boolean, links (r, c) to (r + 1, c + 1).
        rising: (b, rows - 1, columns - 1) boolean, links (r, c + 1) to (r + 1, c).

    Returns:
        (b, rows, columns) int32.
    """
    rows, columns = above.shape[1], above.shape[2]
    count = rows * columns
    batch = tf.shape(above)[0]
    # Numbers unique within the batch; the first of each image means outside.
    outside = (count + 1) * tf.range(batch)[:, None, None]
    own = outside + tf.reshape(tf.range(1, count + 1), (1, rows, columns))
    falling, rising = tf.cast(falling, tf.int32), tf.cast(rising, tf.int32)
    # 1 for each knot that is linked to its neighbour on that diagonal, else 0.
    from_upper_left = tf.pad(falling, [[0, 0], [1, 0], [1, 0]])
    from_lower_right = tf.pad(falling, [[0, 0], [0, 1], [0, 1]])
    from_upper_right = tf.pad(rising, [[0, 0], [1, 0], [0, 1]])
    from_lower_left = tf.pad(rising, [[0, 0], [0, 1], [1, 0]])

    def spread(labels: Any, _: Any):
        around = tf.pad(labels, [[0, 0], [1, 1], [1, 1]])
        best = tf.maximum(labels, around[:, :-2, 1:-1])
        best = tf.maximum(best, around[:, 2:, 1:-1])
        best = tf.maximum(best, around[:, 1:-1, :-2])
        best = tf.maximum(best, around[:, 1:-1, 2:])
        best = tf.maximum(best, from_upper_left * around[:, :-2, :-2])
        best = tf.maximum(best, from_lower_right * around[:, 2:, 2:])
        best = tf.maximum(best, from_upper_right * around[:, :-2, 2:])
        best = tf.maximum(best, from_lower_left * around[:, 2:, :-2])
        groups = tf.math.unsorted_segment_max(
            tf.reshape(tf.where(above, best, outside), (-1,)),
            tf.reshape(labels, (-1,)),
            batch * (count + 1),
        )
        moved = labels
        for _ in range(3):
            moved = tf.gather(groups, moved)
        return moved, tf.reduce_any(moved != labels)

    labels, _ = tf.while_loop(
        lambda labels, moving: moving,
        spread,
        (tf.where(above, own, outside), tf.constant(True)),
        shape_invariants=(tf.TensorShape((None, rows, columns)), tf.TensorShape(())),
        maximum_iterations=count,
    )
    return labels - outside
