"""Read the vision transformers of keras-hub: their numbers and their weights."""

import functools
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deml_tf.backbones.backbone import Backbone
from deml_tf.backbones.vision_transformer_size import PIXELS, VisionTransformerSize
from deml_tf.backbones.weights.position_embeddings import resized_positions
from deml_tf.errors import DataError, UsageError

# Scale and offset of the pixels in DeiT, where a preset does not give them: by mean and
# deviation of ImageNet.
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_DEIT = (1 / 255 / _DEVIATION).tolist(), (-_MEAN / _DEVIATION).tolist()
# Of a folder's network: four times the blocks of keras-hub's largest, ten times the
# weights.
_MOST_BLOCKS, _MOST_WEIGHTS = 128, 6e9


def find(
    name: str, which: str, others: Sequence[str]
) -> tuple[VisionTransformerSize, Callable[[Backbone], None]]:
    """Look a preset up, without its weights.

    Args:
        name: The backbone's name, for messages.
        which: A ViT or DeiT preset of keras-hub, or the folder of one.
        others: Names of backbones that need no preset, for messages.

    Returns:
        The network's numbers, and the function that puts the preset's weights into a
        backbone.

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
    if which not in known:
        _check_folder(name, which, [kind.__name__ for kind in kinds])
    source = _backbone(which, which in known, load_weights=False)
    high, wide = source.patch_size
    if high != wide or source.num_layers < 2:
        raise UsageError(
            f"backbone={name!r} has patches of {high} x {wide} pixels and "
            f"{source.num_layers} block(s): give one with square patches and 2 or more."
        )
    size = _size(
        source, isinstance(source, ViTBackbone), _pixels(which, which in known)
    )
    return size, functools.partial(_assign, which, which in known)


def _check_folder(name: str, which: str, kinds: Sequence[str]) -> None:
    """Refuse a folder of another network, or of one beyond measure, before it is built.

    Building blocks without number would take for ever.
    """

    def count(which: str) -> tuple[str, int, int]:
        config = json.loads(Path(which, "config.json").read_text())
        kind, config = config["registered_name"].rpartition(">")[2], config["config"]
        if kind not in kinds:
            return kind, 0, 0
        blocks, width = int(config["num_layers"]), int(config["hidden_dim"])
        inner = int(config.get("mlp_dim", 0) or config["intermediate_dim"])
        patch = int(np.prod(config["patch_size"]))  # one side, or both
        places = math.prod(config["image_shape"]) // patch
        return kind, blocks, width * (blocks * (4 * width + 2 * inner) + places)

    kind, blocks, weights = _read(which, False, count)
    if kind not in kinds:
        raise UsageError(
            f"backbone={name!r} holds a {kind}: give the folder of a "
            f"{' or a '.join(kinds)}."
        )
    if blocks > _MOST_BLOCKS or weights > _MOST_WEIGHTS:
        raise DataError(
            f"backbone={name!r} has {blocks} blocks and about {weights:.1g} weights: "
            f"give one of at most {_MOST_BLOCKS} blocks and {_MOST_WEIGHTS:.0e} "
            "weights."
        )


def _size(source: Any, is_vit: bool, pixels: Any) -> VisionTransformerSize:
    """Read the numbers of a ViTBackbone or else a DeiTBackbone."""
    scale, offset = pixels or (PIXELS if is_vit else _DEIT)
    return VisionTransformerSize(
        layers=source.num_layers,
        heads=source.num_heads,
        hidden=source.hidden_dim,
        mlp=source.mlp_dim if is_vit else source.intermediate_dim,
        patch=source.patch_size[0],
        extra_tokens=int(source.use_class_token) if is_vit else 2,
        epsilon=source.layer_norm_epsilon,
        attention_bias=source.use_mha_bias,
        mlp_bias=source.use_mlp_bias if is_vit else True,
        patch_bias=source.use_patch_bias if is_vit else True,
        scale=scale,
        offset=offset,
    )


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
    """Read scale and offset of the pixels, if the preset gives them."""
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


def _assign(which: str, is_known: bool, backbone: Backbone) -> None:
    """Put a preset's weights into a backbone."""
    source = _backbone(which, is_known, load_weights=True)
    _, embedding, encoder = source.layers
    layers = backbone.layers()
    layers["patches"].set_weights(embedding.patch_embedding.get_weights())
    tokens: Any = layers["tokens"]
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
            backbone.lower.output_shape[1:3],
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
