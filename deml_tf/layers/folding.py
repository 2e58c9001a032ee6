"""What layers make of their weights alone: once for many calls, where weights rest."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import keras

_FOLDED: contextvars.ContextVar[dict[int, Any] | None] = contextvars.ContextVar(
    "folded", default=None
)


class Folding(keras.layers.Layer):
    """A layer whose call starts from tensors that it makes of its weights alone."""

    def fold(self) -> Any:
        """Makes them, a nest of tensors, of the weights as they are."""
        raise NotImplementedError

    def folded(self) -> Any:
        """What `call` is to use: made before, within `folded`, else made now."""
        made = _FOLDED.get() or {}
        return made[id(self)] if id(self) in made else self.fold()


def folding_layers(*models: keras.Model) -> list[Folding]:
    """The layers of models, and of the models in them, that fold; each once."""
    found = {}
    for model in models:
        for layer in model.layers:
            if isinstance(layer, Folding):
                found[id(layer)] = layer
            elif isinstance(layer, keras.Model):
                found |= {id(inner): inner for inner in folding_layers(layer)}
    return list(found.values())


@contextlib.contextmanager
def folded(layers: Sequence[Folding], tensors: Sequence[Any]) -> Iterator[None]:
    """Within, layers use what was made of their weights before.

    Args:
        layers: What `folding_layers` found.
        tensors: What `fold` gave of each. Whoever changes the weights makes them anew.
    """
    made = {id(layer): nest for layer, nest in zip(layers, tensors, strict=True)}
    token = _FOLDED.set(made)
    try:
        yield
    finally:
        _FOLDED.reset(token)
