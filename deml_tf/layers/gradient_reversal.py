"""Gradient reversal: what trains an adversary and its opponent in one backward pass."""

import keras
import tensorflow as tf


@tf.custom_gradient
def reverse_gradient(x, scale):
    """Passes values on and turns their gradient round.

    Forward y = x, backward dx = -scale * dy (Ganin & Lempitsky, ICML 2015, section 3.2;
    the `reversal` way to decouple the learners).

    Args:
        x: Tensor of any shape and floating type.
        scale: Scalar tensor; no gradient flows to it.

    Returns:
        A tensor equal to x.
    """

    def gradient(upstream):
        return -tf.cast(scale, upstream.dtype) * upstream, tf.zeros_like(scale)

    return tf.identity(x), gradient


@keras.saving.register_keras_serializable(package="deml_tf")
class GradientReversal(keras.layers.Layer):
    """Identity whose gradient is multiplied by -scale.

    Not in the release, whose decoupling is the hinge; our reading of the paper's
    adversary trained without alternation.

    Args:
        scale: Factor of the reversed gradient, used unless `call` is given another;
            default 1.
        **kwargs: As for any Keras layer.
    """

    def __init__(self, scale: float = 1.0, **kwargs):
        """Keeps the scale; see the class."""
        super().__init__(**kwargs)
        self.scale = float(scale)

    def call(self, x, scale=None):
        """Passes x on.

        Args:
            x: Tensor of any shape.
            scale: Scalar, number or tensor, that takes the place of the layer's own for
                this call: the place of a ramp over training.

        Returns:
            A tensor equal to x.
        """
        scale = self.scale if scale is None else scale
        return reverse_gradient(x, tf.cast(scale, tf.float32))

    def compute_output_shape(self, x_shape, scale_shape=None):
        """The shape of x."""
        return x_shape

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}
