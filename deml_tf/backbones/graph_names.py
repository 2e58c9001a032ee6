"""Name a functional model's operations alike in every process."""

import re

import keras


def stable_names(model: keras.Model) -> dict[int, str]:
    """Name a model's operations alike, whatever else the process has built.

    Keras numbers unnamed layers across the whole process (`conv2d_94`). Here they are
    numbered within the model, as in a fresh process. An operation that is not a layer
    (`x + y`) is named after the layer that gives its last input:
    `stage_2_block_8_identity_add`.

    Args:
        model: A functional model, each of whose operations is called once.

    Returns:
        id(operation) -> name, unique within the model, in the model's order.
    """
    names, first = {}, {}
    for operation in model.operations:
        if numbered := _numbered(operation):
            base, number = numbered
            first[base] = min(number, first.get(base, number))
        elif isinstance(operation, keras.layers.Layer):
            names[id(operation)] = operation.name
    makers, taken = {}, set(names.values())
    for operation in model.operations:
        if id(operation) not in names:
            if numbered := _numbered(operation):
                base, number = numbered
                stem = f"{base}_{number - first[base]}".removesuffix("_0")
            else:
                last = makers[id(keras.tree.flatten(operation.input)[-1])]
                stem = f"{names[last]}_{type(operation).__name__.lower()}"
            name, again = stem, 1
            while name in taken:
                again += 1
                name = f"{stem}_{again}"
            taken.add(name)
            names[id(operation)] = name
        for tensor in keras.tree.flatten(operation.output):
            makers[id(tensor)] = id(operation)
    return {id(operation): names[id(operation)] for operation in model.operations}


def named_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Find a model's layers by their stable names, those of a Sequential one by one."""
    found, names = {}, stable_names(model)
    for layer in model.layers:
        if isinstance(layer, keras.Sequential):
            found |= {inner.name: inner for inner in layer.layers}
        else:
            found[names[id(layer)]] = layer
    return found


def _numbered(operation: keras.Operation) -> tuple[str, int] | None:
    """Split a name that Keras made into base and number: re_lu, re_lu_1 of ReLU."""
    if not isinstance(operation, keras.layers.Layer):
        return None
    match = re.fullmatch(r"(.+?)(?:_(\d+))?", operation.name)
    if match and match[1].replace("_", "") == type(operation).__name__.lower():
        return match[1], int(match[2] or 0)
    return None
