"""Convolution, bias and clipping, with gradients that suit the CPU."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Each with its gradient, a function of the output's gradient and the output.
_ACTIVATIONS: dict[str | None, tuple[Callable, Callable]] = {
    None: (lambda y: y, lambda upstream, y: upstream),
    "relu": (
        tf.nn.relu,
        lambda upstream, y: tf.raw_ops.ReluGrad(gradients=upstream, features=y),
    ),
    "relu6": (
        tf.nn.relu6,
        lambda upstream, y: tf.raw_ops.Relu6Grad(gradients=upstream, features=y),
    ),
}


def convolution(
    x: Any,
    kernel: Any,
    bias: Any,
    strides: list[int],
    padding: Any,  # TensorFlow's hints want a literal
    dilations: list[int],
    activation: str | None = None,
    cpu_gradients: bool = True,
) -> Any:  # a tensor, which tf.custom_gradient hides
    """Convolve, add a bias, and clip.

    The gradients made for the CPU differ from TensorFlow's in two places. TensorFlow's
    oneDNN sums the bias's gradient together with the kernel's, which takes 1.1 to 2.3
    times as long as one after the other. And the gradient of a 1 x 1 kernel takes 0.6
    to 0.85 of the time as a product of matrices. Both gains exist only in float32, so
    every other type uses TensorFlow's gradients.

    Args:
        x: (b, h, w, c).
        kernel: (k, k, c, d) of the dtype of x.
        bias: (d,) of the dtype of x.
        strides: Strides of both axes.
        padding: "SAME" or "VALID".
        dilations: Dilations of both axes.
        activation: None, "relu" or "relu6".
        cpu_gradients: Whether the gradients are those made for the CPU; give False
            if none will be needed.

    Returns:
        (b, h', w', d).
    """
    activate, gradient = _ACTIVATIONS[activation]

    def forward(x: Any, kernel: Any, bias: Any):
        y = tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)
        return activate(tf.nn.bias_add(y, bias))

    if not cpu_gradients or x.dtype != tf.float32 or dilations != [1, 1]:
        return forward(x, kernel, bias)
    settings: dict[str, Any] = {"strides": [1, *strides, 1], "padding": padding}

    @tf.custom_gradient
    def convolve(x: Any, kernel: Any, bias: Any):
        y = forward(x, kernel, bias)

        def gradients(upstream: Any):
            up = gradient(upstream, y)
            of_x = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=up, **settings
            )
            if [*kernel.shape[:2], *strides] == [1] * 4:
                of_kernel = _matrix_gradient(x, up, kernel.shape)
            else:
                of_kernel = tf.raw_ops.Conv2DBackpropFilter(
                    input=x, filter_sizes=kernel.shape, out_backprop=up, **settings
                )
            # No BiasAddGrad, which would be fused with the kernel's gradient again.
            return of_x, of_kernel, tf.reduce_sum(up, axis=(0, 1, 2))

        return y, gradients

    return convolve(x, kernel, bias)


@keras.saving.register_keras_serializable(package="deml_tf")
class Convolution(keras.layers.Conv2D):
    """Convolve as Keras's `Conv2D` with a bias, with the gradients of `convolution`.

    Args:
        filters: Channels of the output.
        kernel_size: Side of the kernel, or both.
        strides: Step on both axes; default 1.
        padding: "valid" (default) or "same".
        activation: None (default), "relu" or "relu6".
        kernel_initializer: Default "glorot_uniform".
        bias_initializer: Default "zeros".
        **kwargs: As for `keras.layers.Conv2D`.

    Raises:
        ValueError: Another activation, no bias, groups, dilation, or channels first.

    Attributes:
        cpu_gradients: Whether training uses the gradients made for the CPU; default
            if no GPU is visible, as they are not faster on one. The numbers agree
            except for rounding.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int = 1,
        padding: str = "valid",
        activation: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs,
    ):
        """Make Keras's layer; see the class."""
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )
        name: Any = keras.activations.serialize(self.activation)
        self._activation_name = None if name == "linear" else name
        if self._activation_name not in _ACTIVATIONS:
            raise ValueError(f"activation={name!r}: use None, 'relu' or 'relu6'.")
        if not self.use_bias or self.groups > 1 or self.dilation_rate != (1, 1):
            raise ValueError(
                "Convolution has a bias, one group and no dilation: use Conv2D."
            )
        if self.data_format != "channels_last":
            raise ValueError(f"data_format={self.data_format!r}: use 'channels_last'.")
        self.cpu_gradients = not tf.config.get_visible_devices("GPU")

    def fold(self) -> tuple[Any, Any]:
        """Return the kernel and the bias, rounded to the compute dtype."""
        weights = (self.kernel, self.bias)
        kernel, bias = (tf.cast(weight, self.compute_dtype) for weight in weights)
        return kernel, bias

    def convolve(
        self, x: Any, kernel: Any, bias: Any, cpu_gradients: bool = False
    ) -> Any:
        """Convolve with given weights, as `fold` returns them.

        Args:
            x: (b, h, w, c).
            kernel: (k, k, c, filters) in the compute dtype.
            bias: (filters,) in the compute dtype.
            cpu_gradients: As for `convolution`; default False.

        Returns:
            (b, h', w', filters) in the compute dtype.
        """
        return convolution(
            x,
            kernel,
            bias,
            list(self.strides),
            self.padding.upper(),
            [1, 1],
            self._activation_name,
            cpu_gradients,
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Convolve.

        Args:
            inputs: (b, h, w, c).
            training: Whether gradients will be asked for; default False.

        Returns:
            (b, h', w', filters) in the compute dtype.
        """
        return self.convolve(inputs, *self.fold(), training and self.cpu_gradients)


def _matrix_gradient(x: Any, upstream: Any, shape: tuple[Any, ...]):
    """Return the gradient of a 1 x 1 kernel of that shape: a sum of outer products."""
    rows = tf.reshape(x, (-1, shape[2]))
    columns = tf.reshape(upstream, (-1, shape[3]))
    return tf.reshape(tf.matmul(rows, columns, transpose_a=True), shape)
