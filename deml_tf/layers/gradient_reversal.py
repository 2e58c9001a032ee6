"""Gradient reversal, to train an adversary and its opponent in one backward pass."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@tf.custom_gradient
def reverse_gradient(x: tf.Tensor, scale: tf.Tensor) -> Any:
    """Pass values on and reverse their gradient.

    Forward y = x, backward dx = -scale * dy (Ganin & Lempitsky, ICML 2015, section 3.2;
    used by the decoupling `reversal`).

    Args:
        x: Tensor of any shape and floating type.
        scale: Scalar tensor; no gradient flows to it.

    Returns:
        A tensor equal to x.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return -tf.cast(scale, upstream.dtype) * upstream, tf.zeros_like(scale)

    return tf.identity(x), gradient


@keras.saving.register_keras_serializable(package="deml_tf")
class GradientReversal(keras.layers.Layer):
    """Identity whose gradient is multiplied by -scale.

    Not in the release, which decouples by the hinge. This is our reading of the paper's
    adversary, trained without alternation.

    Args:
        scale: Factor of the reversed gradient, used unless `call` is given another;
            default 1.
        **kwargs: As for any Keras layer.
    """

    def __init__(self, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = float(scale)

    def call(self, x: tf.Tensor, scale: Any = None) -> tf.Tensor:
        """Pass x on.

        Args:
            x: Tensor of any shape.
            scale: Scalar, a number or a tensor, used instead of the layer's own in this
                call, such as a ramp over training; None, the default, for the layer's.

        Returns:
            A tensor equal to x.
        """
        scale = self.scale if scale is None else scale
        return reverse_gradient(x, tf.cast(scale, tf.float32))

    def compute_output_shape(
        self, x_shape: Sequence[Any], scale_shape: Any = None
    ) -> Sequence[Any]:
        """Return the shape of x."""
        return x_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}
