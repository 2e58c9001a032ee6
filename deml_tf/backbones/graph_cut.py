"""Cut a functional Keras model in two at a layer, as copies of their own.

DeML (section 3.3) puts channel attention somewhere inside a network, so that what comes
before runs once and what comes after once per learner. That needs one tensor that every
path passes through: a cut inside a residual block would leave the shortcut outside.
"""

from collections.abc import Mapping
from typing import Any

import keras

from deml_tf.backbones.graph_names import stable_names
from deml_tf.backbones.layer_copy import LayerCopy
from deml_tf.errors import UsageError

# An error lists up to _MANY names, or else the last _FEW of each grid.
_MANY, _FEW = 24, 4
_FINISHING = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
)


def clean_cuts(model: keras.Model) -> dict[str, keras.Operation]:
    """Find the layers through whose output every path of a model passes.

    Args:
        model: A functional model with one input and one output, each of whose
            operations is called once.

    Returns:
        Name (as `stable_names` has it) -> operation, from the input to the output, of
        those that give one map (b, h, w, c) and leave trainable weights on both sides.
    """
    operations, names = model.operations, stable_names(model)
    makers, last_use = {}, list(range(len(operations)))
    for place, operation in enumerate(operations):
        if place:  # 0 is the input itself
            for tensor in keras.tree.flatten(operation.input):
                last_use[makers[id(tensor)]] = place
        makers |= {id(tensor): place for tensor in keras.tree.flatten(operation.output)}
    trained = [bool(getattr(o, "trainable_weights", ())) for o in operations]
    # Keras lists the operations in an order in which they can run. So a tensor is on
    # every path exactly if, once it is made, nothing older waits to be used.
    cuts, waiting = {}, 0
    for place, operation in enumerate(operations):
        output = operation.output
        if (
            waiting <= place
            and isinstance(output, keras.KerasTensor)
            and len(output.shape) == 4
            and any(trained[: place + 1])
            and any(trained[place + 1 :])
        ):
            cuts[names[id(operation)]] = operation
        waiting = max(waiting, last_use[place])
    return cuts


def cut_in_two(
    model: keras.Model,
    cut_layer: str | None,
    middle_layer: str | None,
    source: str,
    copy: LayerCopy,
) -> tuple[keras.Model, keras.Model]:
    """Copy a model as two, which share nothing with it.

    A Sequential inside is split into its layers.

    Args:
        model: As for `clean_cuts`.
        cut_layer: Where the first piece ends: a key of `clean_cuts`.
        middle_layer: The key of `clean_cuts` that gives the middle map; None takes the
            last on the grid of the cut.
        source: The model's name, for messages.
        copy: Makes the layers of the pieces; its prefix goes before the names of the
            pieces and of their inputs too.

    Returns:
        lower: the model's input -> U.
        upper: U -> [middle, last]; middle is upper's own input where `middle_layer`
        does not lie after the cut.

    Raises:
        UsageError: `cut_layer` is None or not a clean cut; the message lists those that
            are.
    """
    cuts = clean_cuts(model)
    if cut_layer not in cuts:
        raise UsageError(
            f"{_wrong(model, cut_layer, source)}: choose one with a map of "
            f"{listed(cuts)}."
        )
    assert middle_layer is None or middle_layer in cuts
    names = list(cuts)
    behind = names[names.index(cut_layer) + 1 :]
    middle = [
        cuts[name].output
        for name in behind
        if name == middle_layer
        or (middle_layer is None and _grid(cuts[name]) == _grid(cuts[cut_layer]))
    ][-1:]
    start: Any = model.inputs[0]
    at: Any = cuts[cut_layer].output
    image = _input(start, start.dtype, f"{copy.prefix}picture")  # as in older files
    (end,) = _copied(model, image, start, [at], copy)
    entry = _input(at, end.dtype, f"{copy.prefix}cut")
    *middle, last = _copied(model, entry, at, [*middle, *model.outputs], copy)
    return (
        keras.Model(image, end, name=f"{copy.prefix}lower"),
        keras.Model(entry, [*(middle or [entry]), last], name=f"{copy.prefix}upper"),
    )


def _wrong(model: keras.Model, cut_layer: str | None, source: str) -> str:
    """Say why a model cannot be cut at a layer."""
    if cut_layer is None:
        return f"cut_layer is needed for {source}, which has no default"
    if cut_layer in stable_names(model).values():
        return (
            f"cut_layer={cut_layer!r} is no clean cut of {source} (a path goes "
            "around it, or one side has nothing to train)"
        )
    return f"cut_layer={cut_layer!r} is no layer of {source}"


def _input(tensor: keras.KerasTensor, dtype: str, name: str) -> Any:
    return keras.Input(tensor.shape[1:], dtype=dtype, name=name)


def _copied(
    model: keras.Model, entry: Any, start: Any, ends: list[Any], copy: LayerCopy
) -> list[Any]:
    """Copy what lies between tensors of a model, onto another input."""
    names = stable_names(model)

    def copied(operation: Any) -> Any:
        if isinstance(operation, keras.Sequential):
            return [copy(layer, layer.name) for layer in operation.layers]
        return copy(operation, names[id(operation)])

    def call(made: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(made, list):
            return made(*args, **kwargs)
        (x,) = args
        for layer in made:
            x = layer(x)
        return x

    part = keras.Model([start], ends)
    return keras.models.clone_model(part, [entry], copied, call).outputs


def listed(cuts: Mapping[str, keras.Operation]) -> str:
    """List the cuts by grid: "8 x 8: a, b; 4 x 4: c".

    If there are more than 24, it leaves out padded maps, and maps that go straight into
    a norm or an activation. If more than 24 are left, it lists the last four of each
    grid.
    """
    shown, few = dict(cuts), len(cuts)
    if len(cuts) > _MANY:
        following = dict(zip(cuts, [*list(cuts.values())[1:], None], strict=True))
        shown = {
            name: operation
            for name, operation in cuts.items()
            if not isinstance(operation, keras.layers.ZeroPadding2D)
            and not isinstance(following[name], _FINISHING)
        }
        few = few if len(shown) <= _MANY else _FEW
    grids: dict[tuple[int, int], list[str]] = {}
    for name, operation in shown.items():
        grids.setdefault(_grid(operation), []).append(name)
    text = "; ".join(
        f"{h} x {w}: {', '.join(names[-few:])}" for (h, w), names in grids.items()
    )
    left_out = len(cuts) - sum(len(names[-few:]) for names in grids.values())
    return f"{text} (and {left_out} more)" if left_out else text


def _grid(operation: keras.Operation) -> tuple[int, int]:
    output: Any = operation.output
    return output.shape[1:3]
