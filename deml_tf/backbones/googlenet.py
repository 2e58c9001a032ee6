"""GoogLeNet: the paper's backbone, as Caffe runs it.

Szegedy et al., CVPR 2015, table 1, in BVLC's replica (bvlc_googlenet of Caffe's model
zoo, on which the authors' release rests): local response normalisation, no BatchNorm.
Classifier and auxiliary heads are left out.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import keras

from deml_tf.backbones.architecture import Architecture
from deml_tf.backbones.channels import channels
from deml_tf.backbones.weights import caffe_googlenet
from deml_tf.kernels.convolution import Convolution
from deml_tf.kernels.response_norm import ResponseNorm

# The blocks after each pooling; of each block the channels of
# 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj.
STAGES = {
    "pool2": {
        "inception_3a": (64, 96, 128, 16, 32, 32),
        "inception_3b": (128, 128, 192, 32, 96, 64),
    },
    "pool3": {
        "inception_4a": (192, 96, 208, 16, 48, 64),
        "inception_4b": (160, 112, 224, 24, 64, 64),
        "inception_4c": (128, 128, 256, 24, 64, 64),
        "inception_4d": (112, 144, 288, 32, 64, 64),
        "inception_4e": (256, 160, 320, 32, 128, 128),
    },
    "pool4": {
        "inception_5a": (256, 160, 320, 32, 128, 128),
        "inception_5b": (384, 192, 384, 48, 128, 128),
    },
}
_MINUS_MEANS: Any = [-123.0, -117.0, -104.0]  # R, G, B; Keras's hints want one float
_BIAS = 0.2  # initial bias of every convolution of the replica


@dataclass(frozen=True)
class _Layers:
    """Makes the layers, named after Caffe's and seeded by name."""

    seed: int
    width: float

    def convolution(
        self,
        x: keras.KerasTensor,
        name: str,
        count: int,
        kernel: int,
        stride: int = 1,
        padding: str = "same",
    ) -> keras.KerasTensor:
        """Convolve, add the bias, clip below 0."""
        # Caffe's "xavier": uniform, of variance 1 / fan-in.
        initializer = keras.initializers.VarianceScaling(
            1.0,
            "fan_in",
            "uniform",
            seed=zlib.crc32(f"{self.seed} {name}".encode()),
        )
        return Convolution(
            channels(count, self.width),
            kernel,
            stride,
            padding=padding,
            activation="relu",
            kernel_initializer=initializer,
            bias_initializer=keras.initializers.Constant(_BIAS),
            name=name,
        )(x)

    def inception(
        self, x: keras.KerasTensor, name: str, counts: tuple[int, ...]
    ) -> keras.KerasTensor:
        """Apply four branches side by side, and concatenate their channels."""
        one, reduce3, three, reduce5, five, projected = counts
        a = self.convolution(x, f"{name}_1x1", one, 1)
        b = self.convolution(x, f"{name}_3x3_reduce", reduce3, 1)
        b = self.convolution(b, f"{name}_3x3", three, 3)
        c = self.convolution(x, f"{name}_5x5_reduce", reduce5, 1)
        c = self.convolution(c, f"{name}_5x5", five, 5)
        d = keras.layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
        d = self.convolution(d, f"{name}_pool_proj", projected, 1)
        return keras.layers.Concatenate(name=f"{name}_output")([a, b, c, d])


def _halve(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Take the maxima of 3 x 3 windows, two apart."""
    # Caffe rounds the number of windows up and cuts the last one off at the border: on
    # an even side it overhangs by one, on an odd side no window does.
    padding = "valid" if x.shape[1] % 2 else "same"
    return keras.layers.MaxPooling2D(3, 2, padding=padding, name=name)(x)


def build(input_size: int, width: float, seed: int) -> keras.Model:
    """Build the network; `Architecture` and `build_backbone` explain the arguments.

    At 227 pixels the maps have sides of 114, 57, 28, 14 and 7. Layers are named as in
    Caffe, with _ instead of /.
    """
    make = _Layers(seed, width)
    image = keras.Input((input_size, input_size, 3))
    x = keras.layers.Rescaling(1.0, _MINUS_MEANS, name="pixels")(image)
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = make.convolution(x, "conv1_7x7_s2", 64, 7, 2, "valid")
    x = ResponseNorm(name="pool1_norm1")(_halve(x, "pool1_3x3_s2"))
    x = make.convolution(x, "conv2_3x3_reduce", 64, 1)
    x = ResponseNorm(name="conv2_norm2")(make.convolution(x, "conv2_3x3", 192, 3))
    for pool, blocks in STAGES.items():
        x = _halve(x, f"{pool}_3x3_s2")
        for name, counts in blocks.items():
            x = make.inception(x, name, counts)
    return keras.Model(image, x)


ARCHITECTURE = Architecture(
    build,
    cut_layers={"inception_4b": "inception_4b_output", "pool3": "pool3_3x3_s2"},
    middle_layer="inception_4e_output",
    gate_bias=0.0,  # the release's, as is the number of hidden channels
    gate_hidden=64,
    minimum_size=63,  # with which the last map still has two positions per side
    imagenet=caffe_googlenet.refuse_imagenet,
    readers={".caffemodel": caffe_googlenet.assign_caffe},
)
