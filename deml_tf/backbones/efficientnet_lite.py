"""EfficientNet-Lite0.

The network of tensorflow/tpu, models/official/efficientnet/lite (2020): EfficientNet-B0
(Tan & Le, ICML 2019, table 1) without squeeze-and-excitation and with ReLU6. DeML does
not use it; the paper's backbone is GoogLeNet.
"""

import zlib
from dataclasses import dataclass

import keras

from deml_tf.backbones.architecture import Architecture
from deml_tf.backbones.channels import channels
from deml_tf.backbones.weights import torch_efficientnet_lite
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
_STEM, _HEAD = 32, 1280
# The checkpoint was trained with these in TensorFlow; frozen recall falls with others.
_EPSILON, _MEAN, _SCALE = 1e-3, 127.0, 128.0


@dataclass(frozen=True)
class _Layers:
    """Makes the layers, seeded by name."""

    seed: int

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
        """Convolve (each channel on its own if `count` is None), normalise and clip."""
        initializer = keras.initializers.VarianceScaling(
            2.0,
            "fan_out",
            "untruncated_normal",
            seed=zlib.crc32(f"{self.seed} {name}".encode()),
        )
        return NormedConvolution(
            count,
            kernel,
            stride,
            dilation_rate=dilation,
            relu6=relu6,
            epsilon=_EPSILON,
            kernel_initializer=initializer,
            name=name,
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
            x = keras.layers.Add(name=f"{name}_add")([source, x])
        return x


def build(input_size: int, width: float, output_stride: int, seed: int) -> keras.Model:
    """Build the network; `Architecture` and `build_backbone` explain the arguments.

    With output stride 16 the last stride-2 convolution runs at stride 1 and every later
    one at dilation 2, so that every second position of the last map is what stride 32
    would give.
    """
    make = _Layers(seed)
    image = keras.Input((input_size, input_size, 3))
    x = keras.layers.Rescaling(1 / _SCALE, -_MEAN / _SCALE, name="pixels")(image)
    x = make.convolution(x, "stem", channels(_STEM, width), 3, 2)
    number, dilation = 0, 1
    for stage, (repeats, kernel, stride, expansion, count) in enumerate(STAGES, 1):
        for repeat in range(repeats):
            step, here = stride if repeat == 0 else 1, dilation
            if stage == 6 and step == 2 and output_stride == 16:
                step, dilation = 1, 2  # from the next convolution on
            name, wanted = f"block{number}", channels(count, width)
            x = make.block(x, name, kernel, step, here, expansion, wanted)
            number += 1
    return keras.Model(image, make.convolution(x, "head", channels(_HEAD, width), 1))


ARCHITECTURE = Architecture(
    build,
    cut_layers={"stage5": "block10_add", "stage4": "block7_add"},
    middle_layer="block10_add",  # the end of stage 5
    gate_bias=3.0,
    imagenet=torch_efficientnet_lite.assign_imagenet,
    readers={".pth": torch_efficientnet_lite.assign_torch},
)
