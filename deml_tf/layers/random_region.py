"""A region at a random place in each image, to compare object attention with."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.fixed_region import check_share, uniform_saliency
from deml_tf.layers.grid import check_grid
from deml_tf.layers.regions import WHOLE

_TURNS = 4.0  # periods of the triangle wave while a number grows by one
_PLACES = 9  # on each axis
_FLAT = 1e-3  # contrast of a map, relative to its norm, below which its numbers shrink


@keras.saving.register_keras_serializable(package="deml_tf")
class RandomRegion(keras.layers.Layer):
    """Proposes a square at a place that varies randomly from image to image.

    A control for object attention: as many boxes, all of one size, in places that have
    nothing to do with the object. The paper has no such rule.

    The place is one of 9 x 9, evenly spread over the view, and a function of the
    features alone. Fixed random directions turn the map F, minus its mean over
    positions, into two numbers, t_k = sum_pc a_kp b_kc F_pc / ||F - mean||. A triangle
    wave folds each, times 4, into [0, 1], which leaves almost no trace of its value, so
    that all places are equally likely; then it is rounded to a place. So an image has
    the same box whenever its features are the same: in training, scoring and an export,
    on any number of replicas. Training changes the features, and with them the boxes.

    Rounding errors of the features matter only where a number lies on the border of two
    places: in float32 for one box in thousands. Features rounded to bfloat16 move one
    box in five, by one place. A map of one position equals its mean, so that all images
    then get the same box.

    Args:
        side: Side of the square as a share of the side of the view, above 0, at most 1;
            the walk keeps about 0.74.
        seed: Seed of the fixed random directions that turn the features into a place.
        resolution: Side of the view in pixels; not used.
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.

    Raises:
        UsageError: If the side or the seed is out of its range.
    """

    multi_layer = False

    def __init__(
        self, side: float = 0.74, seed: int = 0, resolution: int = 227, **kwargs
    ):
        """Keep the arguments; see the class."""
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        check_share("side", side)
        if not 0 <= seed < 2**32:
            raise UsageError(f"seed={seed}: it must be at least 0 and below 2**32.")
        self.side = side
        self.seed = seed
        self.resolution = resolution

    def build(self, features_shape: tuple[Any, ...]) -> None:
        """Draw the directions; there are no weights.

        Args:
            features_shape: (b, h, w, c).

        Raises:
            UsageError: If h, w or c is not known.
        """
        check_grid("features", features_shape)
        _, h, w, c = features_shape
        # NumPy keeps this generator's numbers from version to version.
        random = np.random.RandomState(self.seed)
        positions = random.standard_normal((h, w, 2))
        positions -= positions.mean(axis=(0, 1))  # removes the mean of F
        self._positions = positions.astype(np.float32)
        self._channels = random.standard_normal((c, 2)).astype(np.float32)
        self.built = True

    def call(self, features: Any) -> dict[str, Any]:
        """Give each view a square.

        Args:
            features: (b, h, w, c), any floating type.

        Returns:
            A dict: `boxes` (b, 4) float32, ymin, xmin, ymax, xmax relative to the view;
            `saliency` (b, h, w) float32, uniform; `fallback` (b,) boolean, true where
            the features are not finite: then the box is the whole view.
        """
        features = tf.stop_gradient(tf.cast(features, tf.float32))
        mean = tf.reduce_mean(features, axis=(1, 2), keepdims=True)
        contrast, size = (
            tf.sqrt(tf.reduce_sum(tf.square(x), axis=(1, 2, 3)))
            for x in (features - mean, features)
        )
        along = tf.einsum("bhwc,ck->bhwk", features, self._channels)
        numbers = tf.reduce_sum(along * self._positions, axis=(1, 2))  # (b, k)
        scale = contrast + _FLAT * size
        good = tf.math.is_finite(scale)
        turns = _TURNS * tf.math.divide_no_nan(numbers, scale[:, None])
        folded = tf.abs(2.0 * (turns - tf.floor(turns)) - 1.0)  # in [0, 1]
        places = tf.minimum(tf.floor(_PLACES * folded), _PLACES - 1.0)
        starts = (1.0 - self.side) / (_PLACES - 1) * places
        boxes = tf.concat([starts, starts + self.side], axis=1)
        return {
            "boxes": tf.where(good[:, None], boxes, WHOLE),
            "saliency": uniform_saliency(features),
            "fallback": ~good,
        }

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "side": self.side,
            "seed": self.seed,
            "resolution": self.resolution,
        }
