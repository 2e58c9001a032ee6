"""Local response normalisation across channels, as AlexNet and GoogLeNet use it."""

import functools
from typing import Any

import keras
import tensorflow as tf

from deml_tf.kernels.compiled import fused, parts_are_compiled


@keras.saving.register_keras_serializable(package="deml_tf")
class ResponseNorm(keras.layers.Layer):
    """Divides each channel by the strength of its neighbours at the same place.

        y_c = x_c / (bias + alpha * sum_{|k - c| <= radius} x_k^2) ** beta

    Krizhevsky et al. 2012, section 3.3. Computed in float32 at least, for
    TensorFlow has no bfloat16 kernel of it on CPUs. Its own kernels take three to four
    times as long as what XLA makes of the formula, which is used within
    `deml_tf.kernels.compiled.compiled_parts`. The defaults are GoogLeNet's, whose
    Caffe layer says `local_size: 5, alpha: 1e-4, beta: 0.75`: Caffe divides its alpha
    by the window's five channels, TensorFlow does not.

    Args:
        radius: Channels on each side of the window; default 2.
        alpha: Factor of the sum of squares; default 2e-5.
        beta: Exponent; default 0.75.
        bias: What the sum is added to; default 1.
        **kwargs: As for any Keras layer.
    """

    def __init__(
        self,
        radius: int = 2,
        alpha: float = 2e-5,
        beta: float = 0.75,
        bias: float = 1.0,
        **kwargs,
    ):
        """Keeps the constants; see the class."""
        super().__init__(**kwargs)
        self.radius = int(radius)
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.bias = float(bias)

    def call(self, x):
        """Normalises x.

        Args:
            x: Tensor (b, h, w, c) of any floating type.

        Returns:
            A tensor of the shape and type of x.
        """
        settings = (self.radius, self.bias, self.alpha, self.beta)
        # TensorFlow's own has no float64, which is there to tell rounding from error.
        if parts_are_compiled() or x.dtype == tf.float64:
            return _compiled(*settings)(x)
        y = tf.nn.local_response_normalization(tf.cast(x, tf.float32), *settings)
        return tf.cast(y, x.dtype)

    def compute_output_shape(self, x_shape):
        """The shape of x."""
        return x_shape

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "radius": self.radius,
            "alpha": self.alpha,
            "beta": self.beta,
            "bias": self.bias,
        }


@functools.cache
def _compiled(radius, bias, alpha, beta):
    """The same of x, and its gradient, each as one kernel of XLA's."""

    def strengths(x):
        return bias + alpha * _window_sum(x * x, radius)

    @fused
    def normalise(x):
        wide = tf.cast(x, _wide(x))
        return tf.cast(wide * _inverse_power(strengths(wide), beta), x.dtype)

    @fused
    def gradient(x, upstream):
        wide, up = tf.cast(x, _wide(x)), tf.cast(upstream, _wide(x))
        strength = strengths(wide)
        factor = _inverse_power(strength, beta)
        shared = _window_sum(up * wide * factor / strength, radius)
        return tf.cast(up * factor - 2 * alpha * beta * wide * shared, x.dtype)

    @tf.custom_gradient
    def response_norm(x):
        return normalise(x), lambda upstream: gradient(x, upstream)

    return response_norm


def _wide(x):
    return x.dtype if x.dtype == tf.float64 else tf.float32


def _window_sum(x, radius):
    """Sums over the channels k with |k - c| <= radius: (..., c) like x."""
    channels = x.shape[-1]
    padded: Any = tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[radius, radius]])
    return tf.add_n([padded[..., k : k + channels] for k in range(2 * radius + 1)])


def _inverse_power(x, exponent):
    """Raises x to -exponent; the usual 3/4 by roots, a seventh of the time."""
    if exponent == 0.75:
        root = tf.math.rsqrt(x)
        return root * tf.sqrt(root)
    return x**-exponent
