import re

import keras
import numpy as np
import pytest

from deml_tf.backbones.graph_cut import clean_cuts, cut_in_two, listed
from deml_tf.backbones.graph_names import named_layers, stable_names
from deml_tf.backbones.layer_copy import LayerCopy
from deml_tf.errors import UsageError

layers = keras.layers


def network():
    """A chain, a shortcut, a fork that closes, a Sequential, a plain addition."""
    x = start = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 255, name="pixels")(x)
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = layers.BatchNormalization()(x)
    inner = layers.Conv2D(4, 3, padding="same", name="inner")(x)
    inner = layers.ReLU()(inner)
    x = layers.Add(name="block1")([x, inner])
    left = layers.Conv2D(4, 3, 2, padding="same", name="left")(x)
    right = layers.MaxPooling2D(2, name="right")(x)
    x = layers.Concatenate(name="joined")([left, right])
    x = keras.Sequential(
        [
            layers.LayerNormalization(name="down_norm"),
            layers.Conv2D(8, 2, name="down_conv"),
        ],
        name="down",
    )(x)
    again = layers.Conv2D(8, 1, name="again")(x)
    x = layers.ReLU()(x + again)
    x = layers.Conv2D(8, 3, 2, padding="same", name="last")(x)
    return keras.Model(start, layers.ReLU(name="end")(x))


CUTS = ["stem", "batch_normalization", "block1", "joined", "down", "again_add"]
CUTS += ["re_lu_1"]


def copy(prefix=""):
    return LayerCopy(prefix, 0, 0.99, keras.DTypePolicy("float32"))


def every_path(model):
    """All paths from input to output, as lists of operations, by walking back."""
    makers = {}
    for operation in model.operations:
        for tensor in keras.tree.flatten(operation.output):
            makers[id(tensor)] = operation

    def back(operation):
        inputs = [] if isinstance(operation, layers.InputLayer) else operation.input
        inputs = keras.tree.flatten(inputs)
        if not inputs:
            return [[operation]]
        return [[*path, operation] for t in inputs for path in back(makers[id(t)])]

    return back(makers[id(model.outputs[0])])


def test_clean_cuts_lie_on_every_path():
    model = network()
    assert list(clean_cuts(model)) == CUTS
    names, paths = stable_names(model), every_path(model)
    everywhere = set.intersection(*({names[id(o)] for o in path} for path in paths))
    # Of these the ends, beyond which there is nothing to train, are no cuts.
    assert everywhere - {"image", "pixels", "last", "end"} == set(CUTS)


def test_names_do_not_know_what_came_before():
    first = list(stable_names(network()).values())
    layers.ReLU()
    keras.Input((3,)) + 1.0
    second = network()
    assert list(stable_names(second).values()) == first
    assert "re_lu" in first and "re_lu_1" in first and "again_add" in first
    assert not {"re_lu", "re_lu_1"} & {layer.name for layer in second.layers}
    found = named_layers(second)
    assert "down" not in found and found["down_conv"].filters == 8


def test_names_are_unique():
    x = keras.Input((4, 4, 3))
    y = layers.Conv2D(3, 1, name="c")(x)
    y = layers.Conv2D(3, 1, name="c_add_2")(y + y + y)
    names = list(stable_names(keras.Model(x, y)).values())
    assert names[1:] == ["c", "c_add", "c_add_3", "c_add_2"]
    a = layers.Conv2D(3, 1, name="a")(x)
    y = layers.Concatenate(name="b")([x + a, x + a])
    names = stable_names(keras.Model(x, y)).values()
    assert {"a_add", "a_add_2"} < set(names) and len(set(names)) == 5


@pytest.mark.parametrize("cut_layer", CUTS)
def test_the_pieces_are_the_whole(cut_layer):
    model = network()
    lower, upper = cut_in_two(model, cut_layer, None, "network", copy("p_"))
    assert (lower.name, upper.name) == ("p_lower", "p_upper")
    pieces = [*lower.operations, *upper.operations]
    assert all(o.name.startswith("p_") for o in pieces)
    assert not any(isinstance(o, keras.Sequential) for o in pieces)
    inner = [*model.get_layer("down").layers, *model.operations]
    assert not {map(id, pieces)} & {map(id, inner)}
    values = {
        f"p_{name}": layer.get_weights() for name, layer in named_layers(model).items()
    }
    for layer in (*lower.layers, *upper.layers):
        if layer.weights:
            layer.set_weights(values.pop(layer.name))
    assert not any(values.values())  # every weight has found its place
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("f4")
    mid, final = upper(lower(x))
    np.testing.assert_allclose(final, model(x), atol=1e-6)
    grid = lower.output_shape[1:3]
    same = [n for n in CUTS if clean_cuts(model)[n].output.shape[1:3] == grid]
    if same[-1] == cut_layer:
        np.testing.assert_array_equal(mid, lower(x))
    else:
        probe = keras.Model(model.inputs[0], clean_cuts(model)[same[-1]].output)
        np.testing.assert_allclose(mid, probe(x), atol=1e-6)


@pytest.mark.parametrize(
    ("cut_layer", "middle_layer", "expected"),
    [
        ("stem", None, "block1"),
        ("stem", "batch_normalization", "batch_normalization"),
        ("stem", "down", "down"),
        ("joined", "stem", "joined"),
        ("joined", "joined", "joined"),
    ],
)
def test_the_middle_map(cut_layer, middle_layer, expected):
    """A named one, wherever its grid; upper's own input where it is not behind."""
    model = network()
    lower, upper = cut_in_two(model, cut_layer, middle_layer, "network", copy())
    given = named_layers(model)
    for layer in (*lower.layers, *upper.layers):
        if layer.weights:
            layer.set_weights(given[layer.name].get_weights())
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("f4")
    probe = keras.Model(model.inputs[0], clean_cuts(model)[expected].output)
    np.testing.assert_allclose(upper(lower(x))[0], probe(x), atol=1e-6)


@pytest.mark.parametrize(
    ("cut_layer", "pattern"),
    [
        ("inner", r"'inner' is no clean cut of network \(a path goes around"),
        ("left", "is no clean cut"),
        ("pixels", "one side has nothing to train"),
        ("end", "one side has nothing to train"),
        ("image", "is no clean cut"),
        ("conv9", "'conv9' is no layer of network"),
        ("", "'' is no layer of network"),
        (None, "is needed for network, which has no default"),
    ],
)
def test_other_cuts_are_refused(cut_layer, pattern):
    with pytest.raises(UsageError, match=pattern) as caught:
        cut_in_two(network(), cut_layer, None, "network", copy())
    message = str(caught.value)
    assert message.endswith(
        "choose one with a map of 16 x 16: stem, batch_normalization, block1; "
        "8 x 8: joined; 7 x 7: down, again_add, re_lu_1."
    )


def test_long_lists_are_shortened():
    x = y = keras.Input((32, 32, 3))
    for n in range(12):
        y = layers.ZeroPadding2D(1, name=f"pad{n}")(y)
        y = layers.Conv2D(4, 3, strides=1 + (n == 6), name=f"conv{n}")(y)
        y = layers.BatchNormalization(name=f"norm{n}")(y)
        y = layers.ReLU(name=f"relu{n}")(y)
    cuts = clean_cuts(keras.Model(x, y))
    text = listed(cuts)
    shown = re.findall(r"\w+\d(?=[,;]| \(|$)", text.partition(" (and")[0])
    assert set(shown) < set(cuts)
    # After conv11 alone nothing is left to go on with but its norm and its ReLU.
    assert text == (
        "32 x 32: relu0, relu1, relu2, relu3, relu4, relu5; "
        "16 x 16: relu6, relu7, relu8, relu9, relu10, conv11 (and 33 more)"
    )
    for n in range(12, 40):
        y = layers.Conv2D(4, 1, name=f"conv{n}")(y)
    assert listed(clean_cuts(keras.Model(x, y))).startswith(
        "32 x 32: relu2, relu3, relu4, relu5; "
        "16 x 16: conv35, conv36, conv37, conv38 (and "
    )
