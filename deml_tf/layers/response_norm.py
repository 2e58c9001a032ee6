"""Local response normalisation across channels, as AlexNet and GoogLeNet use it."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="deml_tf")
class ResponseNorm(keras.layers.Layer):
    """Divides each channel by the strength of its neighbours at the same place.

        y_c = x_c / (bias + alpha * sum_{|k - c| <= radius} x_k^2) ** beta

    Krizhevsky et al. 2012, section 3.3. Computed in float32 under any policy, for
    TensorFlow has no bfloat16 kernel of it on CPUs. The defaults are GoogLeNet's, whose
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
        y = tf.nn.local_response_normalization(
            tf.cast(x, tf.float32), self.radius, self.bias, self.alpha, self.beta
        )
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
