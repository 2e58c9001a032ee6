"""Keras layers of the method, usable in any model."""

from deml_tf.kernels.convolution import Convolution
from deml_tf.kernels.normed_convolution import NormedConvolution
from deml_tf.kernels.response_norm import ResponseNorm
from deml_tf.layers.channel_attention import ChannelAttention
from deml_tf.layers.fixed_region import FixedRegion
from deml_tf.layers.gradient_reversal import GradientReversal
from deml_tf.layers.object_attention import ObjectAttention
from deml_tf.layers.prepare import Prepare, RestoreBoxes
from deml_tf.layers.projection import Projection
from deml_tf.layers.random_region import RandomRegion
from deml_tf.layers.separation_region import SeparationRegion
from deml_tf.layers.zoom import Zoom

REGION_RULES = {
    "walk": ObjectAttention,
    "separation": SeparationRegion,
    "fixed": FixedRegion,
    "random": RandomRegion,
}
"""Region rules by name: Keras layers that propose where the next scale looks.

A rule is called with the last map of learner 1, `(b, h, w, c)`, and its middle map; it
returns a dict of `boxes` `(b, 4)`, `saliency` `(b, h, w)` and `fallback` `(b,)`. A rule
whose attribute `multi_layer` is false is called with the last map alone. Its
constructor takes `resolution`, the side in pixels of the image that the map stands for;
its other arguments become flags, `--NAME_ARGUMENT`.
"""

__all__ = [
    "REGION_RULES",
    "ChannelAttention",
    "Convolution",
    "FixedRegion",
    "GradientReversal",
    "NormedConvolution",
    "ObjectAttention",
    "Prepare",
    "Projection",
    "RandomRegion",
    "ResponseNorm",
    "RestoreBoxes",
    "SeparationRegion",
    "Zoom",
]
