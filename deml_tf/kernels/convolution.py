"""Convolution, bias and clipping, with gradients that suit the CPU."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from deml_tf.kernels.folding import Folding

# Each with its gradient, of the output's gradient and the output.
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
    x, kernel, bias, strides, padding, dilations, activation=None, training=True
) -> Any:  # a tensor, which tf.custom_gradient hides
    """Convolves, adds a bias, and clips.

    In float32 on CPUs two gradients are computed in another way. TensorFlow lets oneDNN
    sum the bias's together with the kernel's, which takes 1.1 to 2.3 times as long as
    one after the other. And the kernel's at 1 x 1 takes .6 to .85 of the time as a
    product of matrices.

    Args:
        x: (b, h, w, c).
        kernel: (k, k, c, d) of the dtype of x.
        bias: (d,) of the dtype of x.
        strides: Of both axes.
        padding: "SAME" or "VALID".
        dilations: Of both axes.
        activation: None, "relu" or "relu6".
        training: Whether gradients will be asked for.

    Returns:
        (b, h', w', d).
    """
    activate, gradient = _ACTIVATIONS[activation]

    def forward(x, kernel, bias):
        y = tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)
        return activate(tf.nn.bias_add(y, bias))

    gpu = bool(tf.config.list_physical_devices("GPU"))
    if gpu or not training or x.dtype != tf.float32 or dilations != [1, 1]:
        return forward(x, kernel, bias)
    settings: dict[str, Any] = {"strides": [1, *strides, 1], "padding": padding}

    @tf.custom_gradient
    def convolve(x, kernel, bias):
        y = forward(x, kernel, bias)

        def gradients(upstream):
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
            # No BiasAddGrad, which would be joined with the kernel's gradient again.
            return of_x, of_kernel, tf.reduce_sum(up, axis=(0, 1, 2))

        return y, gradients

    return convolve(x, kernel, bias)


@keras.saving.register_keras_serializable(package="deml_tf")
class Convolution(keras.layers.Conv2D, Folding):
    """Keras's `Conv2D` with a bias, whose gradients are those of `convolution`.

    What it folds is the rounding of its weights to the compute dtype.

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
        """Makes Keras's layer; see the class."""
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
        name = keras.activations.serialize(self.activation)
        self._activation_name = None if name == "linear" else name
        if self._activation_name not in _ACTIVATIONS:
            raise ValueError(f"activation={name!r}: use None, 'relu' or 'relu6'.")
        if not self.use_bias or self.groups > 1 or self.dilation_rate != (1, 1):
            raise ValueError(
                "Convolution has a bias, one group and no dilation: use Conv2D."
            )
        if self.data_format != "channels_last":
            raise ValueError(f"data_format={self.data_format!r}: use 'channels_last'.")

    def fold(self):
        """The kernel and the bias in the compute dtype."""
        weights = (self.kernel, self.bias)
        return tuple(tf.cast(weight, self.compute_dtype) for weight in weights)

    def call(self, inputs, training=False):
        """Convolves.

        Args:
            inputs: (b, h, w, c).
            training: Whether gradients will be asked for.

        Returns:
            (b, h', w', filters) in the compute dtype.
        """
        kernel, bias = self.folded()
        return convolution(
            inputs,
            kernel,
            bias,
            list(self.strides),
            self.padding.upper(),
            [1, 1],
            self._activation_name,
            training,
        )


def _matrix_gradient(x, upstream, shape):
    """The gradient of a 1 x 1 kernel of that shape: a sum of outer products."""
    rows = tf.reshape(x, (-1, shape[2]))
    columns = tf.reshape(upstream, (-1, shape[3]))
    return tf.reshape(tf.matmul(rows, columns, transpose_a=True), shape)
