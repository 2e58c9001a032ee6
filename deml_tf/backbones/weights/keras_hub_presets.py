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
from deml_tf.backbones.vision_transformer_size import VisionTransformerSize
from deml_tf.backbones.weights.keras_hub_networks import NETWORKS, Network
from deml_tf.backbones.weights.position_embeddings import resized_positions
from deml_tf.errors import DataError, UsageError

# Limits of a folder's network: four times the blocks of keras-hub's largest, ten times
# the weights.
_MOST_BLOCKS, _MOST_WEIGHTS = 128, 6e9


def find(
    name: str, which: str, others: Sequence[str]
) -> tuple[VisionTransformerSize, Callable[[Backbone], None]]:
    """Look a preset up, without its weights.

    Args:
        name: The backbone's name, for messages.
        which: A preset of keras-hub for one of `NETWORKS`, or the folder of one.
        others: Names of backbones that need no preset, for messages.

    Returns:
        The network's numbers, and the function that puts the preset's weights into a
        backbone.

    Raises:
        UsageError: There is no such preset, or keras-hub is not installed.
        DataError: The preset cannot be fetched or read.
    """
    try:
        from keras_hub import models
    except ImportError as error:
        raise UsageError(
            f"backbone={name!r} needs the package keras-hub, which is not installed: "
            f"pip install deml_tf[vit], or choose one of {', '.join(others)}."
        ) from error
    kinds: list[Any] = [getattr(models, kind) for kind in NETWORKS]
    known = [preset for kind in kinds for preset in kind.presets]
    if which not in known and not os.path.isdir(which):
        some = [f"vit:{preset}" for kind in kinds for preset in list(kind.presets)[:1]]
        raise UsageError(
            f"backbone={name!r} is neither a preset nor a folder: choose one of "
            f"{', '.join((*others, *some))} or another of keras-hub's presets for the "
            "same networks, or give vit:FOLDER with a folder that its save_to_preset "
            "wrote."
        )
    if which not in known:
        _check_folder(name, which)
    network, source = _network(which, which in known, load_weights=False)
    high, wide = np.broadcast_to(source.patch_size, 2)
    if high != wide or source.num_layers < 2:
        raise UsageError(
            f"backbone={name!r} has patches of {high} x {wide} pixels and "
            f"{source.num_layers} block(s): give one with square patches and 2 or more."
        )
    size = network.size(source, _pixels(which, which in known))
    return size, functools.partial(_assign, which, which in known)


def _check_folder(name: str, which: str) -> None:
    """Refuse a folder of another network, or of one too large, before it is built.

    Building countless blocks would take for ever.
    """

    def count(which: str) -> tuple[str, int, float]:
        config = json.loads(Path(which, "config.json").read_text())
        kind, config = config["registered_name"].rpartition(">")[2], config["config"]
        if kind not in NETWORKS:
            return kind, 0, 0
        towers = [
            config[tower]["config"]
            for tower in ("vision_encoder", "text_encoder")
            if tower in config
        ]
        counts = [_blocks_and_weights(tower) for tower in towers or [config]]
        blocks, weights = zip(*counts, strict=True)
        return kind, max(blocks), sum(weights)

    kind, blocks, weights = _read(which, False, count)
    if kind not in NETWORKS:
        raise UsageError(
            f"backbone={name!r} holds a {kind}: give the folder of a "
            f"{' or a '.join(NETWORKS)}."
        )
    if blocks > _MOST_BLOCKS or weights > _MOST_WEIGHTS:
        raise DataError(
            f"backbone={name!r} has {blocks} blocks and about {weights:.1g} weights: "
            f"give one of at most {_MOST_BLOCKS} blocks and {_MOST_WEIGHTS:.0e} "
            "weights."
        )


def _blocks_and_weights(config: dict[str, Any]) -> tuple[int, float]:
    """Read the number of blocks of a tower, and estimate that of its weights."""
    blocks, width = int(config["num_layers"]), int(config["hidden_dim"])
    inner = int(config.get("mlp_dim", 0) or config["intermediate_dim"])
    places = int(config.get("vocabulary_size", 0))
    for shape in ("image_shape", "position_embedding_shape"):
        if shape in config:
            patch = int(np.prod(config["patch_size"]))  # one side, or both
            places += math.prod(config[shape]) // patch
    tokens = int(config.get("num_register_tokens", 0))
    return blocks, width * (blocks * (4 * width + 3 * inner) + places + tokens)


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


def _network(which: str, is_known: bool, load_weights: bool) -> tuple[Network, Any]:
    """Return what reads a preset's network, and that network without a text tower."""
    from keras_hub.models import Backbone

    # Under a policy such as bfloat16, weights would be rounded.
    read = functools.partial(
        Backbone.from_preset, load_weights=load_weights, dtype="float32"
    )
    source = _read(which, is_known, read)
    return NETWORKS[type(source).__name__], getattr(source, "vision_encoder", source)


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
    network, source = _network(which, is_known, load_weights=True)
    weights, layers = network.weights(source), backbone.layers()
    layers["patches"].set_weights(weights.patches)
    tokens: Any = layers["tokens"]
    if weights.tokens is not None:
        tokens.tokens.assign(weights.tokens)
    if weights.positions is not None:
        tokens.positions.assign(
            resized_positions(
                weights.positions,
                tokens.extra_tokens,
                weights.grid,
                backbone.lower.output_shape[1:3],
                weights.antialias,
            )
        )
    for number, block in enumerate(weights.blocks, 1):
        for part, values in block.items():
            layers[f"block{number}_{part}"].set_weights(values)
    layers["norm"].set_weights(weights.norm)
