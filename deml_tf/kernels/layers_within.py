"""The layers of a model and of the models in it."""

from collections.abc import Iterator

import keras


def layers_within(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield a model's layers and, in place of the models in it, their layers.

    Args:
        model: Any Keras model.

    Yields:
        Layers, more than once where models share them.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_within(layer)
        else:
            yield layer
