"""What layers make of their weights alone: once for many calls, where weights rest."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

_HELD: contextvars.ContextVar[dict[int, Any] | None] = contextvars.ContextVar(
    "held", default=None
)


class Folding(keras.layers.Layer):
    """A layer whose call starts from tensors that it makes of its weights alone."""

    def fold(self) -> Any:
        """Makes them, a nest of tensors, of the weights as they are."""
        raise NotImplementedError

    def folded(self) -> Any:
        """What `call` is to use: made before, within `FoldedWeights.used`, or now."""
        held = _HELD.get() or {}
        return held[id(self)] if id(self) in held else self.fold()


class FoldedWeights:
    """What the layers of models fold, held in variables.

    Args:
        *models: Searched for layers that fold, and so are the models in them.

    Attributes:
        layers: Those found, each once.
        variables: What they folded when this was made or last updated.
    """

    def __init__(self, *models: keras.Model):
        """Folds; see the class."""
        self.layers = _folding_layers(models)
        self._held = [
            tf.nest.map_structure(lambda t: tf.Variable(t, trainable=False), nest)
            for nest in self._fold()
        ]
        self.variables: list[tf.Variable] = tf.nest.flatten(self._held)
        self._folded_now = tf.function(self._fold, autograph=False)

    def update(self) -> None:
        """Folds anew, for weights that have changed."""
        folded = tf.nest.flatten(self._folded_now())
        for variable, tensor in zip(self.variables, folded, strict=True):
            variable.assign(tensor)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Within, what is traced reads the variables and folds nothing."""
        pairs = zip(self.layers, self._held, strict=True)
        token = _HELD.set({id(layer): nest for layer, nest in pairs})
        try:
            yield
        finally:
            _HELD.reset(token)

    def _fold(self):
        return [layer.fold() for layer in self.layers]


def _folding_layers(models):
    found = {}
    for model in models:
        for layer in model.layers:
            if isinstance(layer, Folding):
                found[id(layer)] = layer
            elif isinstance(layer, keras.Model):
                found |= {id(inner): inner for inner in _folding_layers([layer])}
    return list(found.values())
