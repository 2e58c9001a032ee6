"""What a network must provide to be a backbone."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import keras

from deml_tf.backbones.backbone import Backbone


@dataclass(frozen=True)
class Architecture:
    """A network that `build_backbone` can cut in two.

    For example, two stages of a plain network:

        def build(input_size: int) -> keras.Model:
            image = keras.Input((input_size, input_size, 3))
            x = keras.layers.Rescaling(1 / 255, name="pixels")(image)
            x = keras.layers.Conv2D(16, 3, 4, activation="relu", name="first")(x)
            x = keras.layers.Conv2D(32, 3, 2, activation="relu", name="second")(x)
            return keras.Model(image, x)

        ARCHITECTURE = Architecture(build, {"first": "first"}, gate_bias=0.0)

    Attributes:
        build: Makes the whole functional model: images (b, s, s, 3), float32 RGB
            0..255 -> last map (b, h, w, c). It is called with `input_size` (s) and
            with those of `width`, `output_stride`, `cut_layer` and `seed` that it has
            arguments for. `build_backbone` copies its layers: it sets their prefix and
            dtype, the momentum of BatchNorm, and the seed of each initializer and
            Dropout that has none.
        cut_layers: Names for the argument `cut_layer` -> the layer after which the
            model is cut; the first is the default.
        gate_bias: Initial bias of channel attention's sigmoid, see `Backbone`.
        gate_hidden: Hidden channels of channel attention's gates at a width of 1; None
            for an eighth of the channels of the cut.
        middle_layer: The layer that gives upper's middle map. None takes the last
            clean cut (`graph_cut.clean_cuts`) on the grid of the cut.
        minimum_size: Smallest side of the images in pixels. None asks for more than
            one position in the last map at the given output stride.
        patch: Side in pixels of the patches that images are cut into; the side of the
            images must be a multiple of it.
        imagenet: Loads ImageNet weights into a backbone; None if there are none.
        readers: Ending of a weights file (".pth") -> the function that loads such a
            file into a backbone; it takes the backbone and the path.
        any_cut_layer: Whether layers besides `cut_layers` are accepted, if they are
            clean cuts.
        randomise: Draws random weights with a seed, where initializers alone cannot:
            `keras.layers.MultiHeadAttention` would draw query, key and value alike.
    """

    build: Callable[..., keras.Model]
    cut_layers: Mapping[str, str]
    gate_bias: float
    gate_hidden: int | None = None
    middle_layer: str | None = None
    minimum_size: int | None = None
    patch: int = 1
    imagenet: Callable[[Backbone], None] | None = None
    readers: Mapping[str, Callable[[Backbone, str], None]] = field(default_factory=dict)
    any_cut_layer: bool = False
    randomise: Callable[[Backbone, int], None] | None = None

    def options(self) -> frozenset[str]:
        """Return the names of the arguments that `build` takes."""
        return frozenset(inspect.signature(self.build).parameters)
