"""A network cut in two where channel attention goes."""

import re
from dataclasses import dataclass

import keras

from deml_tf.kernels.normed_convolution import NormedConvolution


@dataclass(frozen=True)
class Backbone:
    """A network in two pieces, U = lower(x) and [middle, last] = upper(U).

    Attributes:
        name: Its name in `build_backbone`.
        lower: Images (b, s, s, 3), float32 RGB 0..255 -> U (b, h, w, c). Normalises
            the pixels itself.
        upper: U -> [middle, last]: a map on U's grid (upper's own input, if the
            network has none after the cut) and the network's last map.
        gate_bias: Initial bias of channel attention's sigmoid: 0 starts the gates at
            one half, as the release does; 3 starts them near one, which frozen
            BatchNorm with ReLU6 needs.
        gate_hidden: Hidden channels of the gates; None for an eighth of U's.
    """

    name: str
    lower: keras.Model
    upper: keras.Model
    gate_bias: float
    gate_hidden: int | None = None

    @property
    def prefix(self) -> str:
        """Return the prefix of all its layers' names."""
        return self.lower.name.removesuffix("lower")

    def layers(self) -> dict[str, keras.layers.Layer]:
        """Return the layers of both pieces by name without the prefix, in order."""
        return {
            layer.name.removeprefix(self.prefix): layer
            for layer in (*self.lower.layers, *self.upper.layers)
        }

    def norms(self) -> list[keras.layers.BatchNormalization]:
        """Return its BatchNorms, in order."""
        layers = [
            layer.norm if isinstance(layer, NormedConvolution) else layer
            for layer in self.layers().values()
        ]
        return [n for n in layers if isinstance(n, keras.layers.BatchNormalization)]

    def whole(self) -> keras.Model:
        """Join the pieces to one model: images -> [middle, last].

        Its `save_weights("F.weights.h5")` writes what `weights="F.weights.h5"` reads.
        """
        return keras.Model(
            self.lower.inputs[0],
            self.upper(self.lower.outputs[0]),
            # vit:tiny and vit:some/folder are not valid names of a model.
            name=self.prefix + re.sub(r"\W", "_", self.name),
        )
