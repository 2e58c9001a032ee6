"""A region that is the same in every image, to compare object attention with."""

from typing import Any

import keras
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.grid import check_grid


def check_share(name: str, value: float, *, or_zero: bool = False) -> None:
    """Refuse a value that is not a share of a side.

    Args:
        name: Name of the argument.
        value: Its value.
        or_zero: Whether it may be 0.

    Raises:
        UsageError: It is not in (0, 1], or with `or_zero` not in [0, 1].
    """
    if not (0 < value <= 1 or (or_zero and value == 0)):
        least = "from 0 to 1" if or_zero else "above 0 and at most 1"
        raise UsageError(f"{name}={value}: it must be {least}, a share of the side.")


def uniform_saliency(features: Any) -> tf.Tensor:
    """Return the uniform saliency map.

    Args:
        features: (b, h, w, c), h and w static.

    Returns:
        (b, h, w) float32, each map summing to 1.
    """
    _, h, w, _ = features.shape
    return tf.zeros_like(features[..., 0], tf.float32) + 1.0 / (h * w)


@keras.saving.register_keras_serializable(package="deml_tf")
class FixedRegion(keras.layers.Layer):
    """Proposes the same square in every view, whatever the view shows.

    A control for object attention: the scales differ in magnification alone. With
    `side=1` all scales see the whole image, and DeML(I, 1) is I U512 networks joined.
    The paper has no such rule.

    Args:
        side: Side of the square as a share of the side of the view, above 0, at most 1;
            the walk keeps about 0.74.
        centre_y: Vertical position of the middle of the square, as a share of the
            height of the view. A square that would cross the border is moved inside.
        centre_x: Horizontal position of the middle of the square, as a share of the
            width of the view.
        resolution: Side of the view in pixels; not used.
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.

    Raises:
        UsageError: If an argument is out of its range.
    """

    multi_layer = False

    def __init__(
        self,
        side: float = 0.74,
        centre_y: float = 0.5,
        centre_x: float = 0.5,
        resolution: int = 227,
        **kwargs,
    ):
        """Keep the arguments; see the class."""
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        check_share("side", side)
        check_share("centre_y", centre_y, or_zero=True)
        check_share("centre_x", centre_x, or_zero=True)
        self.side = side
        self.centre_y = centre_y
        self.centre_x = centre_x
        self.resolution = resolution

    def build(self, features_shape: tuple[Any, ...]) -> None:
        """Check the shape; there are no weights.

        Args:
            features_shape: (b, h, w, c).

        Raises:
            UsageError: If h, w or c is not known.
        """
        check_grid("features", features_shape)

    def call(self, features: Any) -> dict[str, Any]:
        """Give each view the square.

        Args:
            features: (b, h, w, c), h and w static; only their shape is used.

        Returns:
            A dict: `boxes` (b, 4) float32, ymin, xmin, ymax, xmax relative to the view;
            `saliency` (b, h, w) float32, uniform; `fallback` (b,) boolean, false.
        """
        starts = [
            min(max(centre - self.side / 2, 0.0), 1.0 - self.side)
            for centre in (self.centre_y, self.centre_x)
        ]
        box = [*starts, *(start + self.side for start in starts)]
        zeros = tf.zeros_like(features[:, 0, 0, :1], tf.float32)  # (b, 1)
        return {
            "boxes": zeros + tf.constant(box),
            "saliency": uniform_saliency(features),
            "fallback": zeros[:, 0] > 0,
        }

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "side": self.side,
            "centre_y": self.centre_y,
            "centre_x": self.centre_x,
            "resolution": self.resolution,
        }
