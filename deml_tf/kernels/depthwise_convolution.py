"""Depthwise convolution whose gradients suit the CPU."""

from typing import Any

import keras
import tensorflow as tf


def depthwise_convolution(
    x: Any,
    kernel: Any,
    strides: list[int],
    padding: str,
    dilations: list[int],
    cpu_gradients: bool = True,
) -> Any:  # a tensor, which tf.custom_gradient hides
    """Convolve each channel separately.

    The gradients made for the CPU are computed in at least float32: those of oneDNN
    take two to four times as long in bfloat16. The gradient of a 5 x 5 or larger kernel
    takes 0.6 of oneDNN's time as a convolution of x with the output's gradient.

    Args:
        x: (b, h, w, c).
        kernel: (k, k, c, 1) of the dtype of x.
        strides: Strides of both axes.
        padding: "SAME" or "VALID".
        dilations: Dilations of both axes.
        cpu_gradients: Whether the gradients are those made for the CPU; give False
            if none will be needed.

    Returns:
        (b, h', w', c).
    """
    four = [1, *strides, 1]
    # Dilated convolutions are made of other operations, with gradients of their own.
    if not cpu_gradients or dilations != [1, 1]:
        return tf.nn.depthwise_conv2d(x, kernel, four, padding, dilations=dilations)

    @tf.custom_gradient
    def convolve(x: Any, kernel: Any):
        def gradients(upstream: Any):
            dtype = x.dtype if x.dtype == tf.float64 else tf.float32
            wide, tap, up = [tf.cast(t, dtype) for t in (x, kernel, upstream)]
            of_x = tf.nn.depthwise_conv2d_backprop_input(
                tf.shape(x), tap, up, four, padding
            )
            if strides == [1, 1] and kernel.shape[0] >= _LARGE:
                of_kernel = _kernel_gradient(wide, up, kernel.shape[0], padding)
            else:
                of_kernel = tf.nn.depthwise_conv2d_backprop_filter(
                    wide, kernel.shape, up, four, padding
                )
            return tf.cast(of_x, x.dtype), tf.cast(of_kernel, x.dtype)

        return tf.nn.depthwise_conv2d(x, kernel, four, padding), gradients

    return convolve(x, kernel)


_LARGE = 5  # side of the kernels whose gradient is a convolution


def _kernel_gradient(x: Any, upstream: Any, side: int, padding: str):
    """Return the kernel's gradient at stride 1: x convolved with the output's.

    Every channel of every image is a channel of one image:

        d kernel[i, j, c] = sum over b, h, w of x[b, h + i, w + j, c] up[b, h, w, c]

    Args:
        x: (b, h, w, c).
        upstream: (b, h', w', c).
        side: k.
        padding: Padding of the convolution.

    Returns:
        (k, k, c, 1).
    """
    if padding == "SAME":
        before, after = (side - 1) // 2, side // 2
        x = tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])
    channels = x.shape[-1]
    images, kernels = [  # (h, w, b * c)
        tf.reshape(tf.transpose(maps, (1, 2, 0, 3)), [*keras.ops.shape(maps)[1:3], -1])
        for maps in (x, upstream)
    ]
    found = tf.nn.depthwise_conv2d(
        tf.expand_dims(images, 0), tf.expand_dims(kernels, -1), [1] * 4, "VALID"
    )
    return tf.reduce_sum(tf.reshape(found, [side, side, -1, channels, 1]), axis=2)
