"""A backbone of four convolutions, for tests to which any backbone will do.

It builds, traces, saves and loads in a tenth of EfficientNet-Lite0's time.
"""

import keras
from forks import run_module

from deml_tf.backbones import BACKBONES, Architecture

NAME = "small"


def build(input_size, width=1.0, output_stride=32):
    """Maps of stride 16 at the cut, then of the output stride."""
    stride = output_stride // 16
    x = image = keras.Input((input_size, input_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="pixels")(x)
    for name, channels, strides in (
        ("first", 64, 4),
        ("second", 128, 4),
        ("third", 128, stride),
        ("fourth", 256, 1),
    ):
        size = max(3, strides)
        convolution = keras.layers.Conv2D(
            int(width * channels), size, strides, padding="same", name=name
        )
        x = keras.layers.BatchNormalization(name=f"{name}_norm")(convolution(x))
        x = keras.layers.ReLU(6.0, name=f"{name}_relu")(x)
    return keras.Model(image, x)


ARCHITECTURE = Architecture(
    build, {"second": "second_relu"}, gate_bias=3.0, middle_layer="third_relu"
)


def run_command(module, *flags):
    """Goes on as `python -m MODULE FLAGS`, which knows `--backbone=small`."""
    BACKBONES[NAME] = ARCHITECTURE
    run_module(module, *flags)
