"""Switch the gradients made for the CPU on or off."""

from collections.abc import Iterator

import keras


def use_cpu_gradients(model: keras.Model, used: bool) -> None:
    """Choose how a model's convolutions compute their gradients in training.

    The numbers agree but for rounding. The gradients made for the CPU are not faster on
    a GPU, so layers that are made or loaded where one is visible do not use them. It
    has no effect on functions that are already traced.

    Args:
        model: Searched for `Convolution` and `NormedConvolution`, in the models within
            it too.
        used: Whether they use the gradients made for the CPU.
    """
    for layer in layers_within(model):
        if hasattr(layer, "cpu_gradients"):
            layer.cpu_gradients = used


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
