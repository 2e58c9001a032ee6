"""Where the vision transformers of keras-hub keep their numbers and weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deml_tf.backbones.vision_transformer_size import PIXELS, VisionTransformerSize

# Scale and offset of the pixels, from mean and deviation of ImageNet.
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_IMAGENET = (1 / 255 / _DEVIATION).tolist(), (-_MEAN / _DEVIATION).tolist()


@dataclass(frozen=True)
class Weights:
    """The weights of a network, in the order of our own layers.

    Attributes:
        patches: Kernel and bias of the patches' projection.
        tokens: (extra_tokens, c); None where there are none.
        positions: (extra_tokens + h * w, c); None where they are rotary.
        grid: h and w.
        blocks: By block, the weights of its layers by their names, such as "norm1".
        norm: Weights of the last norm.
        antialias: Whether positions are antialiased where the grid shrinks.
    """

    patches: list[np.ndarray]
    tokens: np.ndarray | None
    positions: np.ndarray | None
    grid: tuple[int, int]
    blocks: list[Mapping[str, list[np.ndarray]]]
    norm: list[np.ndarray]
    antialias: bool = True


@dataclass(frozen=True)
class Network:
    """One class of keras-hub.

    Attributes:
        pixels: Scale and offset of the pixels, where a preset does not give them.
        numbers: Reads all numbers but layers, heads, hidden and pixels, as arguments.
        weights: Reads its weights.
    """

    pixels: tuple[Any, Any]
    numbers: Callable[[Any], dict[str, Any]]
    weights: Callable[[Any], Weights]

    def size(
        self, source: Any, pixels: tuple[Any, Any] | None
    ) -> VisionTransformerSize:
        """Read the numbers of a network.

        Args:
            source: A network of keras-hub, with or without its weights.
            pixels: Scale and offset that the preset gives, or None.
        """
        scale, offset = pixels or self.pixels
        return VisionTransformerSize(
            layers=source.num_layers,
            heads=source.num_heads,
            hidden=source.hidden_dim,
            scale=scale,
            offset=offset,
            **self.numbers(source),
        )


def _vit_numbers(source: Any) -> dict[str, Any]:
    return {
        "mlp": source.mlp_dim,
        "patch": source.patch_size[0],
        "extra_tokens": int(source.use_class_token),
        "epsilon": source.layer_norm_epsilon,
        "attention_bias": source.use_mha_bias,
        "mlp_bias": source.use_mlp_bias,
        "patch_bias": source.use_patch_bias,
    }


def _deit_numbers(source: Any) -> dict[str, Any]:
    return {
        "mlp": source.intermediate_dim,
        "patch": source.patch_size[0],
        "extra_tokens": 2,
        "epsilon": source.layer_norm_epsilon,
        "attention_bias": source.use_mha_bias,
    }


def _dinov2_numbers(source: Any) -> dict[str, Any]:
    gated, mlp = source.use_swiglu_ffn, source.intermediate_dim
    return {
        # keras-hub takes two thirds, rounded up to a multiple of 8.
        "mlp": (int(mlp * 2 / 3) + 7) // 8 * 8 if gated else mlp,
        "patch": source.patch_size,
        "extra_tokens": 1 + source.num_register_tokens,
        "activation": "silu" if gated else "gelu",
        "gated": gated,
    }


def _dinov3_numbers(source: Any) -> dict[str, Any]:
    biases = ("query", "key", "value", "proj")
    return {
        "mlp": source.intermediate_dim,
        "patch": source.patch_size,
        "extra_tokens": 1 + source.num_register_tokens,
        "epsilon": source.layer_norm_eps,
        "attention_bias": any(getattr(source, f"use_{name}_bias") for name in biases),
        "mlp_bias": source.use_mlp_bias,
        "activation": source.hidden_activation,
        "gated": source.use_gated_mlp,
        "rotary_theta": source.rope_theta,
    }


def _siglip_numbers(source: Any) -> dict[str, Any]:
    exact = source.intermediate_activation != "gelu_approximate"
    return {
        "mlp": source.intermediate_dim,
        "patch": source.patch_size,
        "extra_tokens": 0,
        "epsilon": source.layer_norm_epsilon,
        "activation": source.intermediate_activation if exact else "gelu_tanh",
    }


def _vit_weights(source: Any) -> Weights:
    """Read a ViTBackbone or a DeiTBackbone."""
    _, embedding, encoder = source.layers
    # (1, 1, c) each, in the order in which keras-hub puts them before the patches.
    tokens = [
        np.asarray(getattr(embedding, kind))[0]
        for kind in ("class_token", "distillation_token")
        if getattr(embedding, kind, None) is not None
    ]
    positions = embedding.position_embedding  # a layer, or (1, n, c)
    positions = np.asarray(getattr(positions, "embeddings", positions))
    (height, width, _), (high, wide) = source.image_shape, source.patch_size
    dense = 1 + getattr(source, "use_mlp_bias", True)
    counts = {"norm1": 2, "attention": 8 if source.use_mha_bias else 4, "norm2": 2}
    counts |= {"expand": dense, "project": dense}
    return Weights(
        patches=embedding.patch_embedding.get_weights(),
        tokens=np.concatenate(tokens) if tokens else None,
        positions=positions.reshape(-1, positions.shape[-1]),
        grid=(height // high, width // wide),
        blocks=[
            _in_order(block.get_weights(), counts) for block in encoder.encoder_layers
        ],
        norm=encoder.layer_norm.get_weights(),
    )


def _in_order(
    given: list[np.ndarray], counts: Mapping[str, int]
) -> dict[str, list[np.ndarray]]:
    ends = np.cumsum(list(counts.values()))
    assert ends[-1] == len(given)
    return {
        name: given[end - count : end]
        for (name, count), end in zip(counts.items(), ends, strict=True)
    }


def _dinov2_weights(source: Any) -> Weights:
    embedding = source.embeddings
    table = np.asarray(embedding.position_embeddings)[0]  # (1 + n, c)
    # keras-hub adds the registers after the positions.
    none = np.zeros((source.num_register_tokens, table.shape[1]), table.dtype)
    height, width, _ = source.position_embedding_shape
    return Weights(
        patches=embedding.patch_embeddings.projection.get_weights(),
        tokens=_class_and_registers(embedding),
        positions=np.concatenate([table[:1], none, table[1:]]),
        grid=(height // source.patch_size, width // source.patch_size),
        blocks=[_dinov2_block(block) for block in source.encoder.layers],
        norm=source.layernorm.get_weights(),
        antialias=source.antialias_in_interpolation,
    )


def _dinov2_block(block: Any) -> dict[str, list[np.ndarray]]:
    mlp = block.mlp
    if block.use_swiglu_ffn:
        kernel, bias = mlp.weights_in.get_weights()  # of both factors
        (first, second), (third, fourth) = np.split(kernel, 2, 1), np.split(bias, 2)
        own = {"expand": [first, third], "gated": [second, fourth]}
        project = mlp.weights_out
    else:
        own, project = {"expand": mlp.fc1.get_weights()}, mlp.fc2
    attention = block.attention.attention.get_weights()
    return _scaled(block, attention, project.get_weights()) | own


def _dinov3_weights(source: Any) -> Weights:
    embedding = source.embeddings
    return Weights(
        patches=embedding.patch_embeddings.projection.get_weights(),
        tokens=_class_and_registers(embedding),
        positions=None,
        grid=(0, 0),
        blocks=[_dinov3_block(block) for block in source.encoder.layers],
        norm=source.layernorm.get_weights(),
    )


def _dinov3_block(block: Any) -> dict[str, list[np.ndarray]]:
    mlp, attention = block.mlp, block.attention
    heads = (attention.num_heads, attention.head_dim)
    given = [
        getattr(attention, f"{name}_dense").get_weights()
        for name in ("query", "key", "value", "output")
    ]
    has_bias = any(len(weights) > 1 for weights in given)
    joined = []
    for weights, kernel, bias in zip(
        given,
        [(-1, *heads)] * 3 + [(*heads, -1)],
        [heads] * 3 + [(-1,)],
        strict=True,
    ):
        joined.append(weights[0].reshape(kernel))
        if has_bias:  # one that is left out is 0
            own = weights[1] if len(weights) > 1 else np.zeros(weights[0].shape[1])
            joined.append(own.reshape(bias))
    own = {"expand": mlp.up_proj.get_weights()}
    if hasattr(mlp, "gate_proj"):
        own = {"expand": mlp.gate_proj.get_weights(), "gated": own["expand"]}
    return _scaled(block, joined, mlp.down_proj.get_weights()) | own


def _class_and_registers(embedding: Any) -> np.ndarray:
    tokens = [np.asarray(embedding.cls_token)[0]]
    if embedding.num_register_tokens:
        tokens.append(np.asarray(embedding.register_tokens)[0])
    return np.concatenate(tokens)


def _scaled(
    block: Any, attention: list[np.ndarray], project: list[np.ndarray]
) -> dict[str, list[np.ndarray]]:
    """Multiply the scales of a DINO block into the weights before them."""
    first, second = (
        np.asarray(scale.lambda1) for scale in (block.layer_scale1, block.layer_scale2)
    )
    end = len(attention) - (2 if attention[-1].ndim == 1 else 1)  # of the output
    return {
        "norm1": block.norm1.get_weights(),
        "attention": attention[:end] + [value * first for value in attention[end:]],
        "norm2": block.norm2.get_weights(),
        "project": [value * second for value in project],
    }


def _siglip_weights(source: Any) -> Weights:
    height, width, _ = source.image_shape
    return Weights(
        patches=source.embedding.patch_embedding.get_weights(),
        tokens=None,
        positions=np.asarray(source.embedding.position_embedding.embeddings),
        grid=(height // source.patch_size, width // source.patch_size),
        blocks=[
            {
                "norm1": block.layer_norm1.get_weights(),
                "attention": block.self_attn.get_weights(),
                "norm2": block.layer_norm2.get_weights(),
                "expand": block.mlp.fc1.get_weights(),
                "project": block.mlp.fc2.get_weights(),
            }
            for block in source.encoder_layers
        ],
        norm=source.post_layer_norm.get_weights(),
    )


# By the names of keras-hub's classes.
NETWORKS = {
    "ViTBackbone": Network(PIXELS, _vit_numbers, _vit_weights),
    "DeiTBackbone": Network(_IMAGENET, _deit_numbers, _vit_weights),
    "DINOV2Backbone": Network(_IMAGENET, _dinov2_numbers, _dinov2_weights),
    "DINOV3Backbone": Network(_IMAGENET, _dinov3_numbers, _dinov3_weights),
    "SigLIPBackbone": Network(PIXELS, _siglip_numbers, _siglip_weights),
}
