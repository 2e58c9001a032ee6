"""GoogLeNet in two pieces: the paper's backbone, as Caffe runs it.

Szegedy et al., CVPR 2015, table 1, in BVLC's replica (bvlc_googlenet of Caffe's model
zoo, on which the authors' release rests): local response normalisation, no BatchNorm.
Classifier and auxiliary heads are left out.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import keras

from deml_tf.backbones.architecture import Architecture, Pieces, entrance
from deml_tf.backbones.efficientnet_lite import channels
from deml_tf.backbones.weights import googlenet
from deml_tf.kernels.convolution import Convolution
from deml_tf.kernels.response_norm import ResponseNorm

# After each pooling its blocks; of a block the channels of
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
CUTS = ("inception_4b", "pool3")  # the first is the default
_MIDDLE = "inception_4e"
_MINUS_MEANS: Any = [-123.0, -117.0, -104.0]  # R, G, B; Keras's hints want one float
_BIAS = 0.2  # that every convolution of the replica starts with


@dataclass(frozen=True)
class _Layers:
    """Makes the layers of one copy, named after Caffe's, seeded and typed alike."""

    prefix: str
    seed: int
    width: float
    dtype: keras.DTypePolicy

    def _weights(self, name: str) -> dict[str, Any]:
        # Caffe's "xavier": uniform, of variance 1 / fan-in. Seeded by name and without
        # the prefix, so that all copies start equal.
        seed = zlib.crc32(f"{self.seed} {name}".encode())
        return {
            "kernel_initializer": keras.initializers.VarianceScaling(
                1.0, "fan_in", "uniform", seed=seed
            ),
            "bias_initializer": keras.initializers.Constant(_BIAS),
        }

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
        return Convolution(
            channels(count, self.width),
            kernel,
            stride,
            padding=padding,
            activation="relu",
            dtype=self.dtype,
            name=self.prefix + name,
            **self._weights(name),
        )(x)

    def norm(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Normalise across channels, with the layer's defaults."""
        return ResponseNorm(dtype=self.dtype, name=self.prefix + name)(x)

    def halve(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Take the maxima of 3 x 3 windows, two apart."""
        # Caffe rounds the number of windows up and cuts the last one off at the border:
        # of an even side it hangs over by one, of an odd one no window does.
        return keras.layers.MaxPooling2D(
            3,
            2,
            padding="valid" if x.shape[1] % 2 else "same",
            dtype=self.dtype,
            name=self.prefix + name,
        )(x)

    def inception(
        self, x: keras.KerasTensor, name: str, counts: tuple[int, ...]
    ) -> keras.KerasTensor:
        """Look through four windows side by side, and stack what they give."""
        one, reduce3, three, reduce5, five, projected = counts
        a = self.convolution(x, f"{name}_1x1", one, 1)
        b = self.convolution(x, f"{name}_3x3_reduce", reduce3, 1)
        b = self.convolution(b, f"{name}_3x3", three, 3)
        c = self.convolution(x, f"{name}_5x5_reduce", reduce5, 1)
        c = self.convolution(c, f"{name}_5x5", five, 5)
        d = keras.layers.MaxPooling2D(
            3, 1, padding="same", dtype=self.dtype, name=f"{self.prefix}{name}_pool"
        )(x)
        d = self.convolution(d, f"{name}_pool_proj", projected, 1)
        return keras.layers.Concatenate(
            dtype=self.dtype, name=f"{self.prefix}{name}_output"
        )([a, b, c, d])


def build(
    input_size: int,
    width: float,
    cut_layer: str,
    seed: int,
    momentum: float,
    prefix: str,
    dtype: keras.DTypePolicy,
) -> Pieces:
    """Build the network's two pieces; `backbone.build_backbone` explains them.

    The maps of 227 pixels have sides of 114, 57, 28, 14 and 7. Layers are named as in
    Caffe, with _ for its /. `momentum` is not used, for there is no BatchNorm.

    Returns:
        lower: images (b, input_size, input_size, 3), RGB 0..255 -> U.
        upper: U -> [end of inception_4e, end of inception_5b].
    """
    make = _Layers(prefix, seed, width, dtype)
    image = entrance((input_size, input_size, 3), "float32", f"{prefix}picture")
    x = keras.layers.Rescaling(
        1.0, _MINUS_MEANS, dtype="float32", name=f"{prefix}pixels"
    )(image)
    x = keras.layers.ZeroPadding2D(3, dtype=dtype, name=f"{prefix}conv1_pad")(x)
    x = make.convolution(x, "conv1_7x7_s2", 64, 7, 2, "valid")
    x = make.norm(make.halve(x, "pool1_3x3_s2"), "pool1_norm1")
    x = make.convolution(x, "conv2_3x3_reduce", 64, 1)
    x = make.norm(make.convolution(x, "conv2_3x3", 192, 3), "conv2_norm2")

    lower, entry, middle = None, x, x
    for pool, blocks in STAGES.items():
        for name, counts in {pool: None, **blocks}.items():
            if counts is None:
                x = make.halve(x, f"{name}_3x3_s2")
            else:
                x = make.inception(x, name, counts)
            if name == cut_layer:
                lower = keras.Model(image, x, name=f"{prefix}lower")
                x = entry = entrance(x.shape[1:], dtype.compute_dtype, f"{prefix}cut")
            if name == _MIDDLE:
                middle = x
    assert lower is not None
    return lower, keras.Model(entry, [middle, x], name=f"{prefix}upper")


ARCHITECTURE = Architecture(
    build=build,
    cut_layers=CUTS,
    gate_bias=0.0,  # the release's
    imagenet=googlenet.refuse_imagenet,
    minimum_size=63,  # of which the final map still has two positions a side
    options=frozenset({"width"}),
    readers={".caffemodel": googlenet.assign_caffe},
)
