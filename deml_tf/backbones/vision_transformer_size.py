"""The numbers that make one vision transformer."""

from collections.abc import Sequence
from dataclasses import dataclass

PIXELS = 1 / 127.5, -1.0  # scale and offset of ViT: 0..255 becomes -1..1


@dataclass(frozen=True)
class VisionTransformerSize:
    """The numbers of a vision transformer.

    Attributes:
        layers: Number of blocks.
        heads: Heads of each attention.
        hidden: Channels of a token.
        mlp: Channels between a block's two dense layers.
        patch: Side of a patch, in pixels.
        extra_tokens: Tokens before the patches': none, class, distillation, registers.
        epsilon: Epsilon of the norms.
        attention_bias: Whether queries, keys, values and their output have biases.
        mlp_bias: Whether the dense layers have biases.
        patch_bias: Whether the patches' projection has one.
        scale: Factor on the pixels' 0..255, one or by channel.
        offset: Added to that.
        activation: Activation between the dense layers: "gelu", "silu", or
            "gelu_tanh", the approximation.
        gated: Whether a second dense layer is multiplied by the activated one.
        rotary_theta: Theta of rotary positions, see `RotaryAttention`; None for learned
            positions.
    """

    layers: int
    heads: int
    hidden: int
    mlp: int
    patch: int = 16
    extra_tokens: int = 1
    epsilon: float = 1e-6
    attention_bias: bool = True
    mlp_bias: bool = True
    patch_bias: bool = True
    scale: float | Sequence[float] = PIXELS[0]
    offset: float | Sequence[float] = PIXELS[1]
    activation: str = "gelu"
    gated: bool = False
    rotary_theta: float | None = None
