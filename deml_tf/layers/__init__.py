"""Keras layers of the method, usable in any model."""

from deml_tf.kernels.convolution import Convolution
from deml_tf.kernels.normed_convolution import NormedConvolution
from deml_tf.kernels.response_norm import ResponseNorm
from deml_tf.layers.channel_attention import ChannelAttention
from deml_tf.layers.gradient_reversal import GradientReversal
from deml_tf.layers.object_attention import ObjectAttention
from deml_tf.layers.prepare import Prepare, RestoreBoxes
from deml_tf.layers.projection import Projection
from deml_tf.layers.zoom import Zoom

REGION_RULES = {"walk": ObjectAttention}

__all__ = [
    "REGION_RULES",
    "ChannelAttention",
    "Convolution",
    "GradientReversal",
    "NormedConvolution",
    "ObjectAttention",
    "Prepare",
    "Projection",
    "ResponseNorm",
    "RestoreBoxes",
    "Zoom",
]
