"""Object attention: a random walk on a feature map finds where to look closer."""

from typing import Any

import keras
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.connectivity import pixel_axis
from deml_tf.layers.grid import check_grid
from deml_tf.layers.random_walk import saliency_map
from deml_tf.layers.regions import FLAT, WHOLE, check_region_arguments, region_boxes

Shape = tuple[int | None, ...] | None


def resize_map(maps: Any, h: int, w: int) -> Any:
    """Resize maps bilinearly to (h, w), half-pixel centres, no antialiasing.

    Args:
        maps: (b, rows, columns) float32.
        h: Rows of the result.
        w: Columns of the result.

    Returns:
        (b, h, w) float32.
    """
    rows = pixel_axis(maps.shape[1], h).weights
    columns = pixel_axis(maps.shape[2], w).weights
    return rows @ maps @ columns.T


def evened_map(maps: Any, h: int, w: int) -> Any:
    """Scale maps to 0..1, resize them to (h, w) and make them sum to 1.

    Args:
        maps: (b, rows, columns) float32.
        h: Rows of the result.
        w: Columns of the result.

    Returns:
        (b, h, w) float32; uniform where a map is constant.
    """
    low = tf.reduce_min(maps, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(maps, axis=(1, 2), keepdims=True)
    maps = resize_map(tf.math.divide_no_nan(maps - low, high - low), h, w)
    total = tf.reduce_sum(maps, axis=(1, 2), keepdims=True)
    says = (high - low > FLAT * high) & (total > 0)
    return tf.where(says, tf.math.divide_no_nan(maps, total), 1.0 / (h * w))


@keras.saving.register_keras_serializable(package="deml_tf")
class ObjectAttention(keras.layers.Layer):
    """Finds the box to look at more closely: a random walk on the feature map (OAM).

    D_pq = ||f_p - f_q|| exp(-((row_p - row_q)^2 + (col_p - col_q)^2) / (2 eps^2)),
    P = D / column sums, m_{t+1} = P m_t, m_0 = 1/n; then the square around the largest
    region of m above its mean (Chen & Deng, CVPR 2019, object attention; constants as
    in the authors' release). The chain is reversible, so it ends at m = row sums of D /
    sum of D. Ten steps come within about 1e-3 (L1) of that on random features; on
    photographs, where neighbouring positions are alike, within 1e-3 at each position
    and 2e-2 in total.

    With `lower_features`, the maps of two layers are fused. With a number of steps, as
    in the release, the walk on the upper features starts from the map of the lower
    ones, scaled to 0..1, resized and made to sum to 1. With the exact end, where the
    start does not matter, the result is the mean of both maps, each scaled to 0..1,
    resized to the upper grid and made to sum to 1, so that both count equally; with
    `prior_correction` both are corrected first. A constant lower map does not change
    the box.

    Everything is computed in float32, whatever the policy and the features' type, and
    no gradient flows through. A GPU that multiplies in TensorFloat-32 does so here too.

    Args:
        steps: Number of steps of the walk, 10 in the release; by default the state in
            which the walk ends is computed exactly.
        epsilon: Width of the location kernel as a share of the side of the map, above
            0. On a map that is not square, each axis is measured by its own length.
        border: Treatment of a box that crosses the border: "shift" moves it back
            inside, "clip" (the release) cuts it off.
        prior_correction: Whether the walk's pull to the centre is taken out: the map is
            divided by the end of the walk on the location kernel alone (for the exact
            end, each row sum of D by the kernel's) and made to sum to 1 again.
        multi_layer: Whether the walk also reads a map from the middle of the network,
            which an embedder then passes as `lower_features`. A call that is given two
            maps fuses them in any case.
        threshold: Share of the map's range above which positions belong to the region,
            above 0, below 1; by default the threshold is the mean of the map, as in the
            release. On maps of 14 x 14 positions 0.65 gives tighter boxes.
        resolution: Side in pixels of the image that the map stands for; default 227.
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.

    Raises:
        UsageError: If an argument is out of its range.

    Departures from the release: the exact end, `border="shift"`, `prior_correction` and
    `threshold` are ours, as are maps in floats, which the release truncates to 8 bits.
    """

    def __init__(
        self,
        steps: int | None = None,
        epsilon: float = 0.15,
        border: str = "shift",
        prior_correction: bool = False,
        multi_layer: bool = False,
        threshold: float | None = None,
        resolution: int = 227,
        **kwargs,
    ):
        """Keep the arguments; see the class."""
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        check_region_arguments(resolution, border)
        if steps is not None and steps < 1:
            raise UsageError(f"steps={steps} is no walk; use at least 1, or None.")
        if not epsilon > 0:
            raise UsageError(f"epsilon={epsilon} is no width; use more than 0.")
        if threshold is not None and not 0 < threshold < 1:
            raise UsageError(f"threshold={threshold}: it must be above 0 and below 1.")
        self.steps = steps
        self.epsilon = epsilon
        self.border = border
        self.prior_correction = prior_correction
        self.multi_layer = multi_layer
        self.threshold = threshold
        self.resolution = resolution

    def build(self, features_shape: Shape, lower_features_shape: Shape = None) -> None:
        """Check that the grids are known; there are no weights.

        Args:
            features_shape: (b, h, w, c).
            lower_features_shape: (b, rows, columns, channels) or None.

        Raises:
            UsageError: If a height or width is not known.
        """
        check_grid("features", features_shape, lower_features_shape)
        self.built = True

    def call(self, features: Any, lower_features: Any = None) -> dict[str, Any]:
        """Walk, and cut the box.

        Args:
            features: (b, h, w, c), V_1, any floating type.
            lower_features: (b, rows, columns, channels) of an earlier layer, or None.

        Returns:
            A dict: `boxes` (b, 4) float32, ymin, xmin, ymax, xmax relative to the
            image; `saliency` (b, h, w) float32, summing to 1; `fallback` (b,)
            boolean, true where the features are not finite or all the same, or the map
            is constant: then the box is the whole image and the saliency uniform.
        """
        features = tf.stop_gradient(features)
        _, h, w, _ = features.shape
        start = lower = None
        if lower_features is not None:
            is_fused = self.steps is None
            lower, _ = saliency_map(
                tf.stop_gradient(lower_features),
                self.steps,
                self.epsilon,
                self.prior_correction and is_fused,
            )
            lower = evened_map(lower, h, w)
            start = None if is_fused else lower
        saliency, informed = saliency_map(
            features, self.steps, self.epsilon, self.prior_correction, start
        )
        if lower is not None and self.steps is None:
            saliency = (evened_map(saliency, h, w) + lower) / 2.0
        boxes, found = region_boxes(
            saliency, self.resolution, self.border, self.threshold
        )
        # The regions' loop loses the static batch size, which counting costs needs.
        boxes = tf.ensure_shape(boxes, (saliency.shape[0], 4))
        good = informed & tf.ensure_shape(found, saliency.shape[:1])
        return {
            "boxes": tf.where(good[:, None], boxes, WHOLE),
            "saliency": tf.where(good[:, None, None], saliency, 1.0 / (h * w)),
            "fallback": ~good,
        }

    def compute_output_shape(
        self, features_shape: Any, lower_features_shape: Shape = None
    ) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of boxes, saliency and fallback."""
        return {
            "boxes": (features_shape[0], 4),
            "saliency": tuple(features_shape[:3]),
            "fallback": (features_shape[0],),
        }

    def compute_output_spec(
        self, features: Any, lower_features: Any = None
    ) -> dict[str, keras.KerasTensor]:
        """Return the shapes and types of boxes, saliency and fallback."""
        return {
            name: keras.KerasTensor(
                shape, dtype="bool" if name == "fallback" else "float32"
            )
            for name, shape in self.compute_output_shape(features.shape).items()
        }

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "steps": self.steps,
            "epsilon": self.epsilon,
            "border": self.border,
            "prior_correction": self.prior_correction,
            "multi_layer": self.multi_layer,
            "threshold": self.threshold,
            "resolution": self.resolution,
        }
