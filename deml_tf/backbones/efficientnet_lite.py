"""EfficientNet-Lite0 in two pieces.

The network of tensorflow/tpu, models/official/efficientnet/lite (2020): EfficientNet-B0
(Tan & Le, ICML 2019, table 1) without squeeze-and-excitation and with ReLU6. DeML does
not use it; the paper's backbone is GoogLeNet.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import keras

from deml_tf.backbones.architecture import Architecture, entrance
from deml_tf.backbones.weights import efficientnet_lite
from deml_tf.kernels.normed_convolution import NormedConvolution

# repeats, kernel, stride, expansion, channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
CUTS = {"stage5": 5, "stage4": 4}  # the first is the default
_STEM, _HEAD = 32, 1280
# What the checkpoint was trained with, in TensorFlow; frozen recall falls with another.
_EPSILON, _MEAN, _SCALE = 1e-3, 127.0, 128.0


def channels(count: int, width: float) -> int:
    """Scale a number of channels, to a multiple of 8 and never below nine tenths."""
    scaled = max(8, int(count * width + 4) // 8 * 8)
    return scaled if scaled >= 0.9 * count * width else scaled + 8


@dataclass(frozen=True)
class _Layers:
    """Makes the layers of one copy: named, seeded and typed alike."""

    prefix: str
    seed: int
    momentum: float
    padding: str
    dtype: keras.DTypePolicy

    def _initializer(self, name: str) -> Any:  # which Keras's hints call a str
        # By name and without the prefix, so that all copies start equal.
        return keras.initializers.VarianceScaling(
            2.0,
            "fan_out",
            "untruncated_normal",
            seed=zlib.crc32(f"{self.seed} {name}".encode()),
        )

    def _padded(
        self, x: keras.KerasTensor, name: str, kernel: int, stride: int
    ) -> tuple[keras.KerasTensor, str]:
        # An odd kernel at stride 1 is padded alike on all sides either way.
        if self.padding == "same" or stride == 1:
            return x, "same"
        pad = keras.layers.ZeroPadding2D(
            kernel // 2, dtype=self.dtype, name=f"{self.prefix}{name}_pad"
        )
        return pad(x), "valid"

    def convolution(
        self,
        x: keras.KerasTensor,
        name: str,
        count: int | None,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        relu6: bool = True,
    ) -> keras.KerasTensor:
        """Convolve, each channel on its own without a count, normalise and clip."""
        x, padding = self._padded(x, name, kernel, stride)
        return NormedConvolution(
            count,
            kernel,
            stride,
            padding,
            dilation,
            relu6,
            momentum=self.momentum,
            epsilon=_EPSILON,
            kernel_initializer=self._initializer(name),
            dtype=self.dtype,
            name=self.prefix + name,
        )(x)

    def block(
        self,
        x: keras.KerasTensor,
        name: str,
        kernel: int,
        stride: int,
        dilation: int,
        expansion: int,
        count: int,
    ) -> keras.KerasTensor:
        """Expand, filter each channel, project; add the input where shapes allow."""
        source = x
        if expansion != 1:
            x = self.convolution(x, f"{name}_expand", expansion * x.shape[-1], 1)
        x = self.convolution(x, f"{name}_depthwise", None, kernel, stride, dilation)
        x = self.convolution(x, f"{name}_project", count, 1, relu6=False)
        if source.shape == x.shape and stride == 1:
            x = keras.layers.Add(dtype=self.dtype, name=f"{self.prefix}{name}_add")(
                [source, x]
            )
        return x


def build(
    input_size: int,
    width: float,
    output_stride: int,
    cut_layer: str,
    seed: int,
    momentum: float,
    padding: str,
    prefix: str,
    dtype: keras.DTypePolicy,
) -> tuple[keras.Model, keras.Model]:
    """Build the network's two pieces; `backbone.build_backbone` explains them.

    With output stride 16 the last stride-2 convolution runs at stride 1 and every later
    one at dilation 2, so that each second position of the final map is what stride 32
    would give.

    Returns:
        lower: images (b, input_size, input_size, 3), RGB 0..255 -> U.
        upper: U -> [end of stage 5, final map].
    """
    make = _Layers(prefix, seed, momentum, padding, dtype)
    image = entrance((input_size, input_size, 3), "float32", f"{prefix}picture")
    # In float32 under any policy: bfloat16 cannot tell 200.0 from 200.5.
    x = keras.layers.Rescaling(
        1 / _SCALE, -_MEAN / _SCALE, dtype="float32", name=f"{prefix}pixels"
    )(image)
    x = make.convolution(x, "stem", channels(_STEM, width), 3, 2)

    lower, entry, middle = None, x, x
    number, dilation = 0, 1
    for stage, (repeats, kernel, stride, expansion, count) in enumerate(STAGES, 1):
        for repeat in range(repeats):
            step, here = stride if repeat == 0 else 1, dilation
            if stage == 6 and step == 2 and output_stride == 16:
                step, dilation = 1, 2  # from the next convolution on
            x = make.block(
                x,
                f"block{number}",
                kernel,
                step,
                here,
                expansion,
                channels(count, width),
            )
            number += 1
        if stage == CUTS[cut_layer]:
            lower = keras.Model(image, x, name=f"{prefix}lower")
            x = entry = entrance(x.shape[1:], dtype.compute_dtype, f"{prefix}cut")
        if stage == 5:
            middle = x
    x = make.convolution(x, "head", channels(_HEAD, width), 1)
    assert lower is not None
    return lower, keras.Model(entry, [middle, x], name=f"{prefix}upper")


ARCHITECTURE = Architecture(
    build=build,
    cut_layers=tuple(CUTS),
    gate_bias=3.0,
    imagenet=efficientnet_lite.assign_imagenet,
    options=frozenset({"width", "output_stride", "padding"}),
    readers={".pth": efficientnet_lite.assign_torch},
)
