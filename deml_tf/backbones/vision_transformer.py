"""Vision transformers, whose maps are the grids of their patch tokens.

ViT (Dosovitskiy et al., ICLR 2021), the plain blocks of DeiT (Touvron et al., ICML
2021), DINOv2 (Oquab et al., 2023), DINOv3 (Simeoni et al., 2025) and the image tower of
SigLIP (Zhai et al., ICCV 2023), cut between two blocks. DeML does not use them; here
the random walk and the channel gates run on the grid of patch tokens.

The blocks are Keras's own layers and not keras-hub's, whose configs do not load
(keras-hub 0.32). So a saved embedder loads where keras-hub is absent.
"""

import os
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from deml_tf.backbones.architecture import Architecture
from deml_tf.backbones.backbone import Backbone
from deml_tf.backbones.multi_head_attention import MultiHeadAttention
from deml_tf.backbones.patch_tokens import PatchTokens
from deml_tf.backbones.rotary_attention import RotaryAttention
from deml_tf.backbones.vision_transformer_size import VisionTransformerSize
from deml_tf.backbones.weights import keras_hub_presets
from deml_tf.errors import UsageError

PREFIX = "vit:"
# Widths of DeiT's table 1 and ViT's B/16; all with patches of 16 x 16 pixels.
SIZES = {
    "tiny": VisionTransformerSize(layers=12, heads=3, hidden=192, mlp=768),
    "small": VisionTransformerSize(layers=12, heads=6, hidden=384, mlp=1536),
    "base": VisionTransformerSize(layers=12, heads=12, hidden=768, mlp=3072),
}

_CUT = "grid"  # the layer whose output is U, wherever the cut is
_ZEROS: Any = {"kernel_initializer": "zeros"}


@dataclass(frozen=True)
class _Layers:
    """Makes the blocks of one size, for one grid of patches."""

    size: VisionTransformerSize
    grid: tuple[int, int]

    def norm(self, x: Any, name: str) -> Any:
        """Normalise each token."""
        return keras.layers.LayerNormalization(epsilon=self.size.epsilon, name=name)(x)

    def dense(
        self, x: Any, name: str, count: int, activation: str | None = None
    ) -> Any:
        """Project each token."""
        return keras.layers.Dense(
            count, activation, use_bias=self.size.mlp_bias, name=name, **_ZEROS
        )(x)

    def attention(self, x: Any, name: str, extra_tokens: int) -> Any:
        """Let each token attend to all."""
        heads, rotary = self.size.heads, {}
        kind: Any = MultiHeadAttention
        if self.size.rotary_theta is not None:
            kind, theta = RotaryAttention, self.size.rotary_theta
            rotary = {"grid": self.grid, "extra_tokens": extra_tokens, "theta": theta}
        return kind(
            heads,
            self.size.hidden // heads,
            use_bias=self.size.attention_bias,
            name=name,
            **rotary,
            **_ZEROS,
        )(x, x)

    def expanded(self, x: Any, name: str) -> Any:
        """Project each token to more numbers, and apply the activation."""
        activation, mlp = self.size.activation, self.size.mlp
        if activation == "gelu_tanh":
            y = self.dense(x, f"{name}_expand", mlp)
            y = keras.ops.gelu(y, approximate=True)
        else:
            y = self.dense(x, f"{name}_expand", mlp, activation)  # gelu by erf
        if not self.size.gated:
            return y
        factor = self.dense(x, f"{name}_gated", mlp)
        return keras.layers.Multiply(name=f"{name}_product")([y, factor])

    def block(self, x: Any, name: str, extra_tokens: int = 0) -> Any:
        """Attend to all tokens, then transform each; both with residuals."""
        y = self.norm(x, f"{name}_norm1")
        y = self.attention(y, f"{name}_attention", extra_tokens)
        x = keras.layers.Add(name=f"{name}_attended")([x, y])
        y = self.expanded(self.norm(x, f"{name}_norm2"), name)
        y = self.dense(y, f"{name}_project", self.size.hidden)
        return keras.layers.Add(name=name)([x, y])


def build(size: VisionTransformerSize, input_size: int, cut_layer: str) -> keras.Model:
    """Build the network, with kernels of zeros; `_randomise` draws others.

    Departures from ViT: the class token and its like pass through the blocks before the
    cut, as when the weights were trained, and are dropped at the cut, since the gates
    act on a grid and there is no classifier; the blocks after it attend to patches
    alone. There is no dropout, and no pooling at the end, which SigLIP has.

    Args:
        size: The network's numbers.
        input_size: Side of the images in pixels, a multiple of the patch's.
        cut_layer: "block1" to "block{layers - 1}", the last block before the cut.

    Returns:
        Images (b, input_size, input_size, 3), RGB 0..255 -> the normalised last map
        (b, h, w, c) with h = w = input_size / patch. The layer "grid" gives U, of the
        same shape; "middle_grid" is the last block's input, if that is not U itself.
    """
    side = input_size // size.patch
    cut, make = int(cut_layer.removeprefix("block")), _Layers(size, (side, side))
    grid, sequence = (side, side, size.hidden), (side * side, size.hidden)
    image = keras.Input((input_size, input_size, 3))
    offset: Any = size.offset  # Keras's hints want one float
    x = keras.layers.Rescaling(size.scale, offset, name="pixels")(image)
    x = keras.layers.Conv2D(
        size.hidden,
        size.patch,
        size.patch,
        use_bias=size.patch_bias,
        name="patches",
        **_ZEROS,
    )(x)
    has_positions = size.rotary_theta is None
    x = PatchTokens(size.extra_tokens, has_positions, name="tokens")(x)
    for number in range(1, cut + 1):
        x = make.block(x, f"block{number}", size.extra_tokens)
    if size.extra_tokens:
        x = keras.layers.Cropping1D((size.extra_tokens, 0), name="patches_alone")(x)
    x = keras.layers.Reshape(grid, name=_CUT)(x)
    x = keras.layers.Reshape(sequence, name="sequence")(x)
    for number in range(cut + 1, size.layers + 1):
        if number == size.layers > cut + 1:
            x = keras.layers.Reshape(grid, name="middle_grid")(x)
            x = keras.layers.Reshape(sequence, name="middle_sequence")(x)
        x = make.block(x, f"block{number}")
    x = make.norm(x, "norm")
    return keras.Model(image, keras.layers.Reshape(grid, name="final_grid")(x))


def architecture(name: str) -> Architecture:
    """Find the vision transformer of a name.

    Args:
        name: "vit:" and one of `SIZES`; a preset of keras-hub for ViT, DeiT, DINOv2,
            DINOv3 or SigLIP; or a folder that keras-hub's `save_to_preset` wrote.

    Returns:
        The network. It may be cut after every block but the last; by default three
        quarters in, as the learners share only what lies before the cut.

    Raises:
        UsageError: The name is unknown, or keras-hub is needed and not installed.
        DataError: The preset cannot be fetched or read.
    """
    which = os.path.expanduser(name.removeprefix(PREFIX))
    if which in SIZES:
        size, assign = SIZES[which], _refuse_imagenet
    else:
        others = [PREFIX + size for size in SIZES]
        size, assign = keras_hub_presets.find(name, which, others)
    default = max(1, size.layers * 3 // 4)
    others = [n for n in range(1, size.layers) if n != default]
    return Architecture(
        partial(build, size),
        cut_layers={f"block{n}": _CUT for n in (default, *others)},
        # The residual stream carries all of U to the end, and each block was trained on
        # it whole: as with frozen BatchNorm, gates at one half would spoil it.
        gate_bias=3.0,
        minimum_size=2 * size.patch,
        patch=size.patch,
        imagenet=assign,
        randomise=_randomise,
    )


def _refuse_imagenet(backbone: Backbone) -> None:
    raise UsageError(
        f"backbone={backbone.name!r} has random weights alone: set weights='none', or "
        f"choose a preset such as {PREFIX}vit_base_patch16_224_imagenet."
    )


def _randomise(backbone: Backbone, seed: int) -> None:
    """Draw kernels, tokens and positions from truncated normals, as DeiT does."""
    # By name, so that all copies start equal.
    for name, layer in backbone.layers().items():
        for number, variable in enumerate(layer.weights):
            if variable.name in ("kernel", "tokens", "positions"):
                draw = keras.initializers.TruncatedNormal(
                    stddev=0.02, seed=zlib.crc32(f"{seed} {name} {number}".encode())
                )
                variable.assign(draw(variable.shape, "float32"))
