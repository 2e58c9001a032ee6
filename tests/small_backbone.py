"""A backbone of four convolutions, for tests to which any backbone will do.

It builds, traces, saves and loads in a tenth of EfficientNet-Lite0's time, of which it
has every kind of layer but the sum of a block.
"""

import sys
from typing import Any
from unittest import mock

import keras
from forks import run_module

from deml_tf.backbones import BACKBONES, Architecture
from deml_tf.kernels.normed_convolution import NormedConvolution
from deml_tf.models.embedder import build_deml

NAME = "small"
# Arguments of `build_deml` once it is registered.
TINY = {
    "backbone": NAME,
    "weights": "none",
    "width": 0.25,
    "input_size": 40,
    "resize_size": 48,
    "output_stride": 16,
    "embedding_dim": 24,
}


def build(input_size, width=1.0, output_stride=32):
    """Maps of stride 16 at the cut, then of the output stride."""
    x = image = keras.Input((input_size, input_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="pixels")(x)
    for name, channels, side, strides in (
        ("first", 64, 4, 4),
        ("second", 128, 4, 4),
        ("third", None, 3, output_stride // 16),  # each channel on its own
        ("fourth", 256, 1, 1),
    ):
        count = channels and int(width * channels)
        x = NormedConvolution(count, side, strides, name=name)(x)
    return keras.Model(image, x)


ARCHITECTURE = Architecture(
    build, {"second": "second"}, gate_bias=3.0, middle_layer="third"
)


def build_tiny(**arguments):
    """An embedder of TINY, or of other arguments of `build_deml`."""
    with mock.patch.dict(BACKBONES, {NAME: ARCHITECTURE}):
        return build_deml(**{**TINY, **arguments})


def run_command(module, *flags):
    """Goes on as `python -m MODULE FLAGS`, which knows `--backbone=small`."""
    BACKBONES[NAME] = ARCHITECTURE
    run_module(module, *flags)


def run_in_ascii(module, *flags):
    """The same, where nothing but ASCII can be printed."""
    stream: Any
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="ascii", errors="strict")
    run_command(module, *flags)
