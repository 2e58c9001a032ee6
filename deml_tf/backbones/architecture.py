"""What a network must bring to be a backbone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

Pieces = tuple[keras.Model, keras.Model]  # lower, upper


@dataclass(frozen=True)
class Architecture:
    """A network that `build_backbone` can cut in two.

    Attributes:
        build: Makes lower and upper with random weights. Called with `input_size`,
            `cut_layer`, `seed`, `prefix`, `dtype`, `momentum` (of BatchNorm) and the
            `options` it takes, all by name.
        cut_layers: Names at which lower may end; the first is the default.
        gate_bias: Bias that channel attention's sigmoid should start from.
        minimum_size: Smallest side of the images, in pixels.
        options: Those of width, output_stride and padding that `build` takes; the
            others must be left at their defaults.
        imagenet: Puts ImageNet weights into the pieces; the second argument is the
            layers' prefix.
        readers: By ending of a weights file, what puts it into the pieces; the
            arguments are the pieces, the prefix and the path.
        any_cut_layer: Whether `build` takes names beyond `cut_layers` and refuses
            those that are no clean cut itself.
    """

    build: Callable[..., Pieces]
    cut_layers: tuple[str, ...]
    gate_bias: float
    imagenet: Callable[[Pieces, str], None]
    minimum_size: int = 1
    options: frozenset[str] = frozenset()
    readers: Mapping[str, Callable[[Pieces, str, str], None]] = field(
        default_factory=dict
    )
    any_cut_layer: bool = False


def entrance(shape: tuple[Any, ...], dtype: str, name: str) -> keras.KerasTensor:
    """A piece's input: `keras.Input`, whose hints leave open what it gives."""
    tensor = keras.Input(shape, dtype=dtype, name=name)
    assert isinstance(tensor, keras.KerasTensor)
    return tensor
