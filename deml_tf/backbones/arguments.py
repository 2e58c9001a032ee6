"""Check the arguments of `build_backbone` before anything is built."""

import math
import os
from collections.abc import Mapping
from typing import Any

from deml_tf.backbones.architecture import Architecture
from deml_tf.errors import UsageError

_CHOICES = {
    "output_stride": (32, 16),
    "batch_norm": ("auto", "frozen", "train"),
}
_DEFAULTS = {"width": 1.0, "output_stride": 32}
_OWN = ".weights.h5"  # what `Backbone.whole().save_weights` writes


def check_structure(
    name: str,
    architecture: Architecture,
    options: Mapping[str, Any],
    cut_layer: str | None,
    batch_norm: str,
) -> None:
    """Check what changes a network's structure.

    Args:
        name: Name of the backbone.
        architecture: Its architecture.
        options: `width` and `output_stride`.
        cut_layer: Name of the cut; None for the default.
        batch_norm: As for `build_backbone`.

    Raises:
        UsageError: A value is unknown, or not for this network.
    """
    settings = {**options, "batch_norm": batch_norm}
    for argument, choices in _CHOICES.items():
        if settings[argument] not in choices:
            raise UsageError(
                f"{argument}={settings[argument]!r} is unknown for {name}: choose one "
                f"of {', '.join(map(str, choices))}."
            )
    cuts = architecture.cut_layers
    if cut_layer and cut_layer not in cuts and not architecture.any_cut_layer:
        raise UsageError(
            f"cut_layer={cut_layer!r} is unknown for {name}: choose one of "
            f"{', '.join(cuts)}."
        )
    for option, default in _DEFAULTS.items():
        if options[option] != default and option not in architecture.options():
            raise UsageError(
                f"{option}={options[option]} is not for {name}: leave it at {default}, "
                "or choose efficientnet_lite0."
            )
    width = options["width"]
    if not (math.isfinite(width) and width > 0):
        raise UsageError(f"width={width} is no factor: give a number above 0.")


def check_size(
    name: str, architecture: Architecture, input_size: int, output_stride: int
) -> None:
    """Check that images have a size that a network accepts.

    Args:
        name: Name of the backbone.
        architecture: Its architecture.
        input_size: Side of the images, in pixels.
        output_stride: Pixels per position of the last map.

    Raises:
        UsageError: They are too small, or not a whole number of patches.
    """
    minimum = architecture.minimum_size
    if minimum is not None and input_size < minimum:
        raise UsageError(
            f"input_size={input_size} is too small for {name}: give at least "
            f"{minimum} pixels."
        )
    if minimum is None and input_size <= output_stride:
        raise UsageError(
            f"input_size={input_size} leaves a final map of one position at "
            f"output_stride={output_stride}: give more than {output_stride} pixels."
        )
    whole = input_size - input_size % architecture.patch
    if whole != input_size:
        raise UsageError(
            f"input_size={input_size} is no multiple of the {architecture.patch} "
            f"pixels of a patch of {name}: give {whole} or "
            f"{whole + architecture.patch}."
        )


def check_weights(
    name: str, architecture: Architecture, weights: str, width: float
) -> None:
    """Check that a network can have the weights asked for.

    Args:
        name: Name of the backbone.
        architecture: Its architecture.
        weights: "imagenet", "none" or the path of a file.
        width: The factor on the numbers of channels.

    Raises:
        UsageError: There are no such weights, or no such file.
    """
    endings = (*architecture.readers, _OWN)
    if weights == "imagenet":
        if width != 1:
            raise UsageError(
                f"weights='imagenet' exist for width 1 alone, not for width={width}: "
                "set width=1 or weights='none'."
            )
        if architecture.imagenet is None:
            raise UsageError(
                f"weights='imagenet' do not exist for {name}: set weights='none', or "
                f"give a file ending in {' or '.join(endings)}."
            )
    elif weights == "none":
        return
    elif file_ending(weights) not in endings:
        raise UsageError(
            f"weights={weights!r} is neither 'imagenet' nor 'none' nor a file ending "
            f"in {' or '.join(endings)}: give one of these."
        )
    elif not os.path.isfile(weights):
        raise UsageError(f"weights={weights!r} is no file: give the path of one.")


def file_ending(path: str) -> str:
    """Return the ending of a weights file: .pth, .caffemodel, .h5 or .weights.h5."""
    return _OWN if path.endswith(_OWN) else os.path.splitext(path)[1]
