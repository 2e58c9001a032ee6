"""A convolution with its BatchNorm and ReLU6, folded into one where that is exact."""

from typing import Any

import keras
import tensorflow as tf

from deml_tf.kernels.convolution import convolution
from deml_tf.kernels.depthwise_convolution import depthwise_convolution


@keras.saving.register_keras_serializable(package="deml_tf")
class NormedConvolution(keras.layers.Layer):
    """Convolve without a bias, normalise, and clip to 0..6.

        y = relu6(gamma * (kernel * x - mean) / sqrt(variance + epsilon) + beta)

    (Ioffe & Szegedy, ICML 2015, algorithm 2). If the statistics are fixed, in inference
    or because `norm` is frozen, its scale goes into the kernel and its shift is the
    bias:

        y = relu6((kernel * scale) * x + shift)

    the same numbers except for rounding, in one operation instead of three.

    Args:
        filters: Channels of the output; None convolves each channel separately.
        kernel_size: Side of the kernel.
        strides: Step on both axes; default 1.
        padding: "same" (default) or "valid".
        dilation_rate: Dilation of the kernel; default 1.
        relu6: Whether the output is clipped; default True.
        momentum: Momentum of BatchNorm's averages; default 0.99.
        epsilon: Added to BatchNorm's variance; default 1e-3.
        kernel_initializer: Default "glorot_uniform".
        frozen: Whether `norm` is not trained; default False.
        synchronized: Whether its statistics are those of all replicas; default False.
        **kwargs: As for any Keras layer.

    Attributes:
        convolution: The Keras layer that has the kernel.
        norm: The Keras layer `BatchNormalization`.
        cpu_gradients: Whether training uses the gradients made for the CPU; default
            if no GPU is visible, as they are not faster on one. The numbers agree
            except for rounding.
    """

    def __init__(
        self,
        filters: int | None,
        kernel_size: int,
        strides: int = 1,
        padding: str = "same",
        dilation_rate: int = 1,
        relu6: bool = True,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        kernel_initializer: Any = "glorot_uniform",
        frozen: bool = False,
        synchronized: bool = False,
        **kwargs,
    ):
        """Make the two layers; see the class."""
        super().__init__(**kwargs)
        self.filters, self.kernel_size = filters, kernel_size
        self.strides, self.padding = strides, padding
        self.dilation_rate, self.relu6 = dilation_rate, relu6
        self.momentum, self.epsilon = momentum, epsilon
        self.kernel_initializer: Any = keras.initializers.get(kernel_initializer)
        settings: dict[str, Any] = {
            "kernel_size": kernel_size,
            "strides": strides,
            "padding": padding,
            "dilation_rate": dilation_rate,
            "use_bias": False,
            "dtype": self.dtype_policy,
            "trainable": self.trainable,
            "name": "convolution",
        }
        if filters is None:
            self.convolution = keras.layers.DepthwiseConv2D(
                depthwise_initializer=self.kernel_initializer, **settings
            )
        else:
            self.convolution = keras.layers.Conv2D(
                filters, kernel_initializer=self.kernel_initializer, **settings
            )
        self.norm = keras.layers.BatchNormalization(
            momentum=momentum,
            epsilon=epsilon,
            synchronized=synchronized,
            trainable=self.trainable and not frozen,
            dtype=self.dtype_policy,
            name="norm",
        )
        self.cpu_gradients = not tf.config.get_visible_devices("GPU")

    def build(self, x_shape: tuple[Any, ...]) -> None:
        """Make the weights.

        Args:
            x_shape: (b, h, w, c).
        """
        self.convolution.build(x_shape)
        self.norm.build(self.convolution.compute_output_shape(x_shape))
        self.built = True

    def fold(self) -> tuple[Any, Any]:
        """Return the kernel with the scale in it, and the shift.

        Returns:
            Tensors of the kernel's shape and (filters,), in the compute dtype.
        """
        norm: Any = self.norm  # its type hints leave gamma and beta open
        scale = norm.gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)
        shift = norm.beta - norm.moving_mean * scale
        if self.filters is None:
            scale = scale[:, None]  # for a kernel (h, w, c, 1)
        # Rounded as Keras does within `call`, so that the kernel is the same outside.
        kernel = tf.cast(self.convolution.kernel, self.compute_dtype)
        kernel = tf.cast(kernel, scale.dtype) * scale
        return tf.cast(kernel, self.compute_dtype), tf.cast(shift, self.compute_dtype)

    def convolve(
        self, x: Any, kernel: Any, shift: Any, cpu_gradients: bool = False
    ) -> Any:
        """Convolve with given weights, as `fold` returns them, and clip.

        Args:
            x: (b, h, w, c).
            kernel: Kernel, in the compute dtype.
            shift: (filters,) in the compute dtype.
            cpu_gradients: As for `convolution`; default False.

        Returns:
            (b, h', w', filters) in the compute dtype.
        """
        settings: dict[str, Any] = {
            "strides": [self.strides] * 2,
            "padding": self.padding.upper(),
            "dilations": [self.dilation_rate] * 2,
            "cpu_gradients": cpu_gradients,
        }
        if self.filters is not None:
            activation = "relu6" if self.relu6 else None
            return convolution(x, kernel, shift, activation=activation, **settings)
        y = tf.nn.bias_add(depthwise_convolution(x, kernel, **settings), shift)
        return tf.nn.relu6(y) if self.relu6 else y

    def call(self, x: Any, training: bool = False) -> Any:
        """Convolve and normalise x.

        Args:
            x: (b, h, w, c).
            training: Whether a `norm` that is trainable uses the batch's statistics;
                default False.

        Returns:
            (b, h', w', filters) in the compute dtype.
        """
        if training and self.norm.trainable:
            y = self.norm(self.convolution(x), training=True)
            return tf.nn.relu6(y) if self.relu6 else y
        return self.convolve(x, *self.fold(), training and self.cpu_gradients)

    def compute_output_shape(self, x_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (b, h', w', filters)."""
        return self.convolution.compute_output_shape(x_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "relu6": self.relu6,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "frozen": not self.norm.trainable,
            "synchronized": self.norm.synchronized,
        }
