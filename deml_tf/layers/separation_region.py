"""The square that best separates its inside from its outside, on one or two maps."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.fixed_region import check_share
from deml_tf.layers.grid import check_grid
from deml_tf.layers.regions import FLAT, WHOLE

_CHANNELS = 64  # that maps with twice as many or more are projected to


@keras.saving.register_keras_serializable(package="deml_tf")
class SeparationRegion(keras.layers.Layer):
    """Proposes the square whose inside and outside the features separate best.

    For each square on a grid, eta is the share of the features' variance that its
    inside and outside explain:

        eta = a (1 - a) ||mean inside - mean outside||^2 / mean ||f - mean||^2,

    with a the square's share of the area: Otsu's criterion (1979) with squares in place
    of thresholds. There is no threshold to set, and the size is found with the place: a
    square too small leaves part of the object outside, one too large takes in some
    background. With two maps the shares are multiplied: the deep map knows what the
    image shows, the middle one has the sharper edges. The box is the mean of all
    squares, each weighted by its product of shares to the power of `sharpness`, so it
    can lie between the lines of a coarse grid, and rounding moves it little. The rule
    is ours; the paper has the walk of `ObjectAttention`.

    Maps of 128 channels or more are first projected to 64 by fixed random signs, which
    roughly preserves distances (Achlioptas, 2003).

    Args:
        sharpness: Power of the shares of variance by which squares are weighted, above
            0; the higher, the closer the box is to the best square alone.
        margin: Factor on the side of the box, above 0; above 1 it widens the box about
            its middle.
        smallest: Side of the smallest square as a share of the side of the view, above
            0, at most 1.
        least: Share of the last map's variance, from 0 to 1: unless the best square
            explains more than this, the box is the whole view.
        grid: Number of cells on a side of the grid whose squares are compared, at least
            2.
        multi_layer: Whether the map from the middle of the network is used too.
        learned: Whether each channel has a trained weight. The weights begin at 1 and
            learn only from the losses of the later scales, through the place and size
            of the box; the features get no gradient.
        resolution: Side of the view in pixels; not used.
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.

    Raises:
        UsageError: If an argument is out of its range.
    """

    def __init__(
        self,
        sharpness: float = 20.0,
        margin: float = 1.0,
        smallest: float = 0.2,
        least: float = 0.05,
        grid: int = 14,
        multi_layer: bool = True,
        learned: bool = False,
        resolution: int = 227,
        **kwargs,
    ):
        """Keep the arguments; see the class."""
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        for name, value in (("sharpness", sharpness), ("margin", margin)):
            if not 0 < value < float("inf"):
                raise UsageError(f"{name}={value}: it must be above 0.")
        check_share("smallest", smallest)
        if not 0 <= least <= 1:
            raise UsageError(f"least={least}: it must be from 0 to 1.")
        if grid < 2:
            raise UsageError(f"grid={grid}: it must be at least 2.")
        self.sharpness = sharpness
        self.margin = margin
        self.smallest = smallest
        self.least = least
        self.grid = grid
        self.multi_layer = multi_layer
        self.learned = learned
        self.resolution = resolution

    def build(self, features_shape: Any, middle_shape: Any = None) -> None:
        """Check that the grids are known, and make the channels' weights if learned.

        Args:
            features_shape: (b, h, w, c).
            middle_shape: (b, rows, columns, channels) or None.

        Raises:
            UsageError: If a height, width or number of channels is not known.
        """
        check_grid("features", features_shape, middle_shape)
        self.logarithms = [
            self.add_weight(
                shape=(_count_channels(shape[-1]),),
                initializer="zeros",
                name=f"{name}_channels",
            )
            for name, shape in (("last", features_shape), ("middle", middle_shape))
            if self.learned and shape is not None
        ]
        self.built = True

    def call(self, features: Any, middle: Any = None) -> dict[str, Any]:
        """Find the square.

        Args:
            features: (b, h, w, c), the last map, any floating type.
            middle: (b, rows, columns, channels), the middle map, or None.

        Returns:
            A dict: `boxes` (b, 4) float32, ymin, xmin, ymax, xmax relative to the view;
            `saliency` (b, h, w) float32, summing to 1: how far the features of the last
            map lie from their mean towards those inside the box; `fallback` (b,)
            boolean, true where a map is flat or not finite, or the best share is not
            above `least`: then the box is the whole view and the saliency uniform.
        """
        maps = [features] if middle is None else [features, middle]
        maps = [_few_channels(m) for m in maps]
        if self.learned:
            pairs = zip(maps, self.logarithms, strict=True)
            maps = [m * tf.exp(tf.cast(log, tf.float32)) for m, log in pairs]
        found = [_centred(m) for m in maps]
        boxes = squares(self.grid, self.smallest)  # (k, 4)
        area = (boxes[:, 2] - boxes[:, 0]) ** 2
        shares = []  # (b, k) of each map
        for deviations, variance in found:
            between = _between(deviations, self.grid, self.smallest)
            between /= area * (1.0 - area)
            shares.append(tf.math.divide_no_nan(between, variance[:, None]))
        logs = tf.add_n([tf.math.log(tf.maximum(s, 1e-9)) for s in shares])
        weights = tf.nn.softmax(self.sharpness * logs)
        box = tf.linalg.matmul(weights, boxes)
        good: Any = tf.reduce_max(shares[0], axis=1) > self.least
        for _, variance in found:
            good &= tf.math.is_finite(variance) & (variance > 0.0)
        saliency = _likeness(found[0][0], box)
        _, h, w, _ = features.shape
        return {
            "boxes": tf.where(good[:, None], self._widened(box), WHOLE),
            "saliency": tf.where(good[:, None, None], saliency, 1.0 / (h * w)),
            "fallback": ~good,
        }

    def _widened(self, box: Any) -> Any:
        """Widen boxes about their middle, and move them back inside the view."""
        side = tf.minimum(self.margin * (box[:, 2:] - box[:, :2]), 1.0)
        start = (box[:, :2] + box[:, 2:] - side) / 2.0
        start = tf.clip_by_value(start, 0.0, 1.0 - side)
        return tf.concat([start, start + side], axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "sharpness": self.sharpness,
            "margin": self.margin,
            "smallest": self.smallest,
            "least": self.least,
            "grid": self.grid,
            "multi_layer": self.multi_layer,
            "learned": self.learned,
            "resolution": self.resolution,
        }


def _sides(grid: int, smallest: float) -> range:
    """List the sides of the squares on a grid, in cells, without the whole grid."""
    return range(min(math.ceil(smallest * grid), grid - 1), grid)


def squares(grid: int, smallest: float) -> np.ndarray:
    """List the squares on a grid, by side, then row by row.

    Args:
        grid: Number of cells on a side.
        smallest: Side of the smallest square as a share of the grid's.

    Returns:
        (k, 4) float32, ymin, xmin, ymax, xmax as shares of the grid's side.
    """
    found = []
    for side in _sides(grid, smallest):
        y, x = np.divmod(np.arange((grid + 1 - side) ** 2), grid + 1 - side)
        found.append(np.stack([y, x, y + side, x + side], axis=1) / grid)
    return np.concatenate(found).astype("float32")


def _count_channels(channels: int) -> int:
    """Count the channels that `_few_channels` leaves."""
    return channels if channels < 2 * _CHANNELS else _CHANNELS


def _few_channels(maps: Any) -> Any:
    """Project maps of many channels to 64, in float32, without a gradient."""
    maps = tf.stop_gradient(tf.cast(maps, tf.float32))
    channels = maps.shape[-1]
    if _count_channels(channels) == channels:
        return maps
    # NumPy keeps this generator's numbers from version to version.
    signs = np.sign(np.random.RandomState(0).standard_normal((channels, _CHANNELS)))
    return tf.tensordot(maps, (signs / _CHANNELS**0.5).astype("float32"), 1)


def _centred(maps: Any) -> tuple[Any, Any]:
    """Return deviations (b, h, w, c) from the mean, and their mean square (b,).

    The mean square is 0 where it may be rounding error.
    """
    deviations = maps - tf.reduce_mean(maps, axis=(1, 2), keepdims=True)
    size, variance = (
        tf.reduce_mean(tf.reduce_sum(x**2, axis=3), axis=(1, 2))
        for x in (maps, deviations)
    )
    return deviations, tf.where(variance > FLAT**2 * size, variance, 0.0 * variance)


def _between(deviations: Any, grid: int, smallest: float) -> tf.Tensor:
    """Return the squared norm of the deviations' integral over each square: (b, k).

    It comes from a summed-area table: what lies above and left of each grid crossing.
    """
    _, h, w, c = deviations.shape
    cells = tf.reshape(deviations, (-1, h * w, c))
    # (crossings, cells): of the cell, the part that lies above and left of the crossing
    parts = np.kron(_below(h, grid), _below(w, grid))
    table = tf.reshape(tf.linalg.matmul(parts, cells), (-1, grid + 1, grid + 1, c))
    found = []
    for n in _sides(grid, smallest):
        inside = table[:, n:, n:] - table[:, :-n, n:] - table[:, n:, :-n]
        square = tf.reduce_sum((inside + table[:, :-n, :-n]) ** 2, axis=3)
        found.append(tf.reshape(square, (-1, (grid + 1 - n) ** 2)))
    return tf.concat(found, axis=1)


def _below(cells: int, grid: int) -> np.ndarray:
    """Return (grid + 1, cells): how much of each cell lies below each grid line.

    The axis has length 1.

    Args:
        cells: Number of cells on an axis of the map.
        grid: Number of cells of the grid.
    """
    lines = np.arange(grid + 1)[:, None] / grid * cells
    return (np.clip(lines - np.arange(cells), 0, 1) / cells).astype("float32")


def _likeness(deviations: Any, box: Any) -> tf.Tensor:
    """Measure how far features lie from their mean towards the mean inside a box.

    Args:
        deviations: (b, h, w, c).
        box: (b, 4).

    Returns:
        (b, h, w), not negative, summing to 1.
    """
    covered = []
    for axis in (0, 1):
        cells = deviations.shape[1 + axis]
        edges = np.arange(cells + 1, dtype="float32") / cells
        high = tf.minimum(box[:, 2 + axis, None], edges[1:])
        low = tf.maximum(box[:, axis, None], edges[:-1])
        covered.append(tf.nn.relu(high - low))  # (b, h), then (b, w)
    weights = covered[0][:, :, None, None] * covered[1][:, None, :, None]
    inside = tf.reduce_sum(weights * deviations, axis=(1, 2), keepdims=True)
    likeness = tf.nn.relu(tf.reduce_sum(inside * deviations, axis=3))
    total = tf.reduce_sum(likeness, axis=(1, 2), keepdims=True)
    return tf.math.divide_no_nan(likeness, total)
