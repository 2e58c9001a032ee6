"""The presets of keras-hub: their numbers, and what goes where."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.backbones.architecture import Pieces
from deml_tf.errors import DataError, UsageError

# Pixels x scale + offset where a preset says nothing: to -1..1, and by the mean and the
# deviation of ImageNet.
_VIT = 1 / 127.5, -1.0
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_DEIT = (1 / 255 / _DEVIATION).tolist(), (-_MEAN / _DEVIATION).tolist()


@dataclass(frozen=True)
class Size:
    """The numbers of a vision transformer.

    Attributes:
        layers: Blocks.
        heads: Of each attention.
        hidden: Channels of a token.
        mlp: Channels between a block's two dense layers.
        patch: Side of a patch, in pixels.
        extra_tokens: Tokens before the patches': none, class, distillation.
        epsilon: Of the norms.
        attention_bias: Whether queries, keys, values and their output have biases.
        mlp_bias: Whether the dense layers have biases.
        patch_bias: Whether the patches' projection has one.
        scale: Factor on the pixels' 0..255, one or by channel.
        offset: Added to that.
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
    scale: float | Sequence[float] = _VIT[0]
    offset: float | Sequence[float] = _VIT[1]


def find(
    name: str, which: str, others: Sequence[str]
) -> tuple[Size, Callable[[Pieces, str], None]]:
    """Look a preset up, weights not yet.

    Args:
        name: The backbone's name, for messages.
        which: A ViT or DeiT preset of keras-hub, or the folder of one.
        others: Names that need no preset, for messages.

    Returns:
        The network's numbers, and what puts the preset's weights into its pieces.

    Raises:
        UsageError: There is no such preset, or keras-hub is not installed.
        DataError: The preset cannot be fetched or read.
    """
    try:
        from keras_hub.models import DeiTBackbone, ViTBackbone
    except ImportError as error:
        raise UsageError(
            f"backbone={name!r} needs the package keras-hub, which is not installed: "
            f"pip install deml_tf[vit], or choose one of {', '.join(others)}."
        ) from error
    kinds: Any = ViTBackbone, DeiTBackbone
    known = [preset for kind in kinds for preset in kind.presets]
    if which not in known and not os.path.isdir(which):
        raise UsageError(
            f"backbone={name!r} is neither a preset nor a folder: choose one of "
            f"{', '.join((*others, *(f'vit:{preset}' for preset in known)))}, or give "
            "vit:FOLDER with a folder that keras-hub's save_to_preset wrote."
        )
    source = _backbone(which, which in known, load_weights=False)
    if not isinstance(source, kinds):
        raise UsageError(
            f"backbone={name!r} holds a {type(source).__name__}: give the folder of a "
            "ViTBackbone or a DeiTBackbone."
        )
    is_vit = isinstance(source, ViTBackbone)
    high, wide = source.patch_size
    if high != wide or source.num_layers < 2:
        raise UsageError(
            f"backbone={name!r} has patches of {high} x {wide} pixels and "
            f"{source.num_layers} block(s): give one with square patches and 2 or more."
        )
    scale, offset = _pixels(which, which in known) or (_VIT if is_vit else _DEIT)
    size = Size(
        layers=source.num_layers,
        heads=source.num_heads,
        hidden=source.hidden_dim,
        mlp=source.mlp_dim if is_vit else source.intermediate_dim,
        patch=high,
        extra_tokens=int(source.use_class_token) if is_vit else 2,
        epsilon=source.layer_norm_epsilon,
        attention_bias=source.use_mha_bias,
        mlp_bias=source.use_mlp_bias if is_vit else True,
        patch_bias=source.use_patch_bias if is_vit else True,
        scale=scale,
        offset=offset,
    )
    return size, functools.partial(_assign, which, which in known)


def _read(which: str, is_known: bool, read: Callable[[str], Any]) -> Any:
    try:
        return read(which)
    except Exception as error:  # of the network, HDF5, JSON and Keras: a dozen kinds
        if is_known:
            raise DataError(
                f"The preset {which} cannot be fetched ({type(error).__name__}): where "
                "there is a network, write it to a folder with keras_hub.models."
                f"Backbone.from_preset({which!r}).save_to_preset('FOLDER'), bring the "
                "folder here and give backbone=vit:FOLDER."
            ) from error
        raise DataError(
            f"The preset {which} cannot be read ({type(error).__name__}): give a whole "
            "folder that keras-hub's save_to_preset wrote."
        ) from error


def _backbone(which: str, is_known: bool, load_weights: bool) -> Any:
    from keras_hub.models import Backbone

    read = functools.partial(Backbone.from_preset, load_weights=load_weights)
    return _read(which, is_known, read)


def _pixels(which: str, is_known: bool) -> tuple[Any, Any] | None:
    """Scale and offset of the pixels, where the preset tells them."""
    from keras_hub.layers import ImageConverter

    def read(which: str) -> Any:
        try:
            return ImageConverter.from_preset(which)
        except FileNotFoundError:  # `Backbone.save_to_preset` writes none
            return None

    converter = _read(which, is_known, read)
    if converter is None:
        return None
    scale = 1.0 if converter.scale is None else converter.scale
    return scale, 0.0 if converter.offset is None else converter.offset


def _assign(which: str, is_known: bool, pieces: Pieces, prefix: str) -> None:
    """Put a preset's weights into the layers."""
    source = _backbone(which, is_known, load_weights=True)
    _, embedding, encoder = source.layers
    layers = {
        layer.name.removeprefix(prefix): layer
        for model in pieces
        for layer in model.layers
    }
    layers["patches"].set_weights(embedding.patch_embedding.get_weights())
    tokens = layers["tokens"]
    # (1, 1, c) each, in the order in which keras-hub puts them before the patches.
    extra = [
        np.asarray(getattr(embedding, kind))[0]
        for kind in ("class_token", "distillation_token")[: tokens.extra_tokens]
    ]
    if extra:
        tokens.tokens.assign(np.concatenate(extra))
    positions = embedding.position_embedding  # a layer, or (1, n, c)
    positions = np.asarray(getattr(positions, "embeddings", positions))
    high, wide = source.image_shape[0], source.image_shape[1]
    tokens.positions.assign(
        resized_positions(
            positions.reshape(-1, positions.shape[-1]),
            tokens.extra_tokens,
            (high // source.patch_size[0], wide // source.patch_size[1]),
            pieces[0].output_shape[1:3],
        )
    )
    parts = ("norm1", "attention", "norm2", "expand", "project")
    for number, block in enumerate(encoder.encoder_layers, 1):
        given = block.get_weights()  # norm, attention, norm, dense, dense, as here
        for part in parts:
            layer = layers[f"block{number}_{part}"]
            count = len(layer.weights)
            layer.set_weights(given[:count])
            given = given[count:]
        assert not given
    layers["norm"].set_weights(encoder.layer_norm.get_weights())


def resized_positions(
    positions: np.ndarray,
    extra_tokens: int,
    given: tuple[int, int],
    wanted: tuple[int, int],
) -> np.ndarray:
    """Bring the position embeddings of a grid to another.

    Bicubic and antialiased where the grid shrinks; the embeddings of extra tokens stay
    as they are. (ViT, section 3.2, interpolates in two dimensions too.)

    Args:
        positions: (extra_tokens + h * w, c) float32, row by row.
        extra_tokens: Rows in front that belong to no place.
        given: h, w.
        wanted: Those of the other grid.

    Returns:
        The same for the other grid; unchanged if that is no other.
    """
    if tuple(given) == tuple(wanted):
        return positions
    grid = positions[extra_tokens:].reshape(*given, -1)
    resized = tf.image.resize(grid, wanted, method="bicubic", antialias=True).numpy()
    return np.concatenate(
        [positions[:extra_tokens], resized.reshape(-1, grid.shape[-1])]
    )
