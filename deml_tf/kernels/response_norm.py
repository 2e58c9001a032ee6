"""Local response normalisation across channels, as AlexNet and GoogLeNet use it."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="deml_tf")
class ResponseNorm(keras.layers.Layer):
    """Divide each channel by the strength of its neighbours at the same position.

        y_c = x_c / (bias + alpha * sum_{|k - c| <= radius} x_k^2) ** beta

    Krizhevsky et al. 2012, section 3.3. Computed in at least float32, as TensorFlow has
    no bfloat16 kernel for it on CPUs. TensorFlow's own kernels take three to four times
    as long as what XLA makes of the formula. XLA is used in training and in the layer's
    `compiled_twin`; inference with the layer itself uses TensorFlow's operation, so
    that an export runs without XLA. The numbers agree except for rounding.

    The defaults are GoogLeNet's, whose Caffe layer says `local_size: 5, alpha: 1e-4,
    beta: 0.75`: Caffe divides its alpha by the window's five channels, TensorFlow does
    not.

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
        """Keep the constants; see the class."""
        super().__init__(**kwargs)
        self.radius = int(radius)
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.bias = float(bias)
        self._always_compiled = False

    def compiled_twin(self) -> "ResponseNorm":
        """Return a layer that computes the same and uses XLA in inference too."""
        twin = type(self).from_config(self.get_config())
        twin._always_compiled = True
        return twin

    def call(self, x: Any, training: bool = False) -> Any:
        """Normalise x.

        Args:
            x: Tensor (b, h, w, c) of any floating type.
            training: Whether gradients will be asked for; default False.

        Returns:
            A tensor of the shape and type of x.
        """
        settings = (self.radius, self.bias, self.alpha, self.beta)
        # TensorFlow's own has no float64, which is used to tell rounding from errors.
        if training or self._always_compiled or x.dtype == tf.float64:
            return _compiled(*settings)(x)
        y = tf.nn.local_response_normalization(tf.cast(x, tf.float32), *settings)
        return tf.cast(y, x.dtype)

    def compute_output_shape(self, x_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape of x."""
        return x_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "radius": self.radius,
            "alpha": self.alpha,
            "beta": self.beta,
            "bias": self.bias,
        }


@functools.cache
def _compiled(radius: int, bias: float, alpha: float, beta: float):
    """Return the formula as a function of x; XLA compiles it and its gradient."""

    def strengths(x: Any):
        return bias + alpha * _window_sum(x * x, radius)

    @_fused
    def normalise(x: Any):
        wide = tf.cast(x, _wide(x))
        return tf.cast(wide * _inverse_power(strengths(wide), beta), x.dtype)

    @_fused
    def gradient(x: Any, upstream: Any):
        wide, up = tf.cast(x, _wide(x)), tf.cast(upstream, _wide(x))
        strength = strengths(wide)
        factor = _inverse_power(strength, beta)
        shared = _window_sum(up * wide * factor / strength, radius)
        return tf.cast(up * factor - 2 * alpha * beta * wide * shared, x.dtype)

    @tf.custom_gradient
    def response_norm(x: Any):
        return normalise(x), lambda upstream: gradient(x, upstream)

    return response_norm


def _fused(function: Callable) -> Callable:
    """Let XLA compile a function of tensors into one kernel, for each shape once."""
    return functools.wraps(function)(
        tf.function(function, jit_compile=True, autograph=False)
    )


def _wide(x: Any):
    return x.dtype if x.dtype == tf.float64 else tf.float32


def _window_sum(x: Any, radius: int):
    """Sum over the channels k with |k - c| <= radius: (..., c) like x."""
    channels = x.shape[-1]
    padded: Any = tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[radius, radius]])
    return tf.add_n([padded[..., k : k + channels] for k in range(2 * radius + 1)])


def _inverse_power(x: Any, exponent: float):
    """Raise x to -exponent; the usual 3/4 by roots, a seventh of the time."""
    if exponent == 0.75:
        root = tf.math.rsqrt(x)
        return root * tf.sqrt(root)
    return x**-exponent
