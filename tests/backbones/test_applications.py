import re
import urllib.error
import warnings
from functools import cache

import keras
import numpy as np
import pytest

from deml_tf.backbones import BACKBONES, build_backbone
from deml_tf.backbones.applications import APPLICATIONS, CUTS, _pixels
from deml_tf.backbones.graph_cut import clean_cuts
from deml_tf.backbones.weights import keras_applications
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import build_deml

# Sides at which each has a final map of more than one position.
SIZES = {name: 64 for name in CUTS} | {"inception_v3": 107}
SLOW, LONG = [pytest.mark.slow], [pytest.mark.slow, pytest.mark.long]
# One with BatchNorm and one without; the others come by the same way.
MARKS = {"mobilenet_v2": [], "convnext_tiny": SLOW}
TABLE = [pytest.param(name, marks=MARKS.get(name, LONG)) for name in CUTS]


def build(name, **changes):
    settings = {"input_size": SIZES.get(name, 64), "weights": "none"} | changes
    return build_backbone(name, **settings)


@cache
def built(name):
    """One copy of each for all tests that leave it as it is."""
    return build(name, batch_norm="frozen", prefix="a_", seed=3)


def images(size, count=2):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (count, size, size, 3)).astype("f4")


def run(backbone, x, training=False):
    lower = backbone.lower(x, training=training)
    return [np.asarray(v) for v in backbone.upper(lower, training=training)]


def values(backbone):
    return [v.numpy() for v in backbone.lower.weights + backbone.upper.weights]


def scramble(model):
    """Moves every weight away from where it starts, within what keeps a signal."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        shape = variable.shape
        if re.search(r"variance$", variable.path):
            variable.assign(random.uniform(0.5, 2.0, shape))
        elif len(shape) == 1:
            old = variable.numpy()
            variable.assign(old + random.normal(0, 0.1, shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.finalize_state()


def preprocessed(name, x):
    family = APPLICATIONS[name].__module__.split(".")[-1]
    return getattr(keras.applications, family).preprocess_input(x.copy())


def original(name, **changes):
    size = SIZES.get(name, 64)
    settings = {"weights": None, "input_shape": (size, size, 3)} | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return APPLICATIONS[name](include_top=False, **settings)


# --- names and shapes -------------------------------------------------------------


def test_names():
    assert len(APPLICATIONS) >= 38
    assert set(APPLICATIONS) > set(CUTS)
    for name in (
        "densenet121 vgg16 xception nasnet_mobile resnet50_v2 efficientnet_v2_b0 "
        "mobilenet mobilenet_v3_small inception_resnet_v2 convnext_xlarge resnet152"
    ).split():
        assert name in APPLICATIONS
    assert APPLICATIONS["efficientnet_v2_b0"] is keras.applications.EfficientNetV2B0
    assert all(tuple(BACKBONES[name].cut_layers) == cuts for name, cuts in CUTS.items())


EXPECTED = {  # U, mid, final at SIZES: the grids of 16, 16 and 32 pixels a position
    "resnet50": ((4, 4, 1024), (4, 4, 1024), (2, 2, 2048)),
    "inception_v3": ((5, 5, 768), (5, 5, 768), (2, 2, 2048)),
    "mobilenet_v2": ((4, 4, 96), (4, 4, 576), (2, 2, 1280)),
    "efficientnet_b0": ((4, 4, 112), (4, 4, 672), (2, 2, 1280)),
    "convnext_tiny": ((4, 4, 384), (4, 4, 384), (2, 2, 768)),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name):
    backbone, size = built(name), SIZES[name]
    lower, mid, final = EXPECTED[name]
    assert backbone.lower.input_shape == (None, size, size, 3)
    assert backbone.lower.output_shape == (None, *lower)
    assert [o.shape[1:] for o in backbone.upper.outputs] == [mid, final]
    assert backbone.gate_bias == 3.0
    cuts = clean_cuts(original(name))
    assert set(CUTS[name]) <= set(cuts)
    # The default is the last block on its grid: what follows there is no block's end.
    behind = list(cuts)[list(cuts).index(CUTS[name][0]) + 1 :]
    grid = cuts[CUTS[name][0]].output.shape[1:3]
    assert all("expand" in n for n in behind if cuts[n].output.shape[1:3] == grid)
    names = [o.name for p in (backbone.lower, backbone.upper) for o in p.operations]
    assert len(set(names)) == len(names)
    assert all(n.startswith("a_") for n in names)


COUNTS = {
    "resnet50": (35, "conv4_block6_add", "conv4_block6_2_relu"),
    "inception_v3": (27, "mixed9", "conv2d_93"),
    "mobilenet_v2": (71, "block_10_project_BN", "block_11_expand"),
    "efficientnet_b0": (77, "block6a_se_excite", "block6a_se_reduce"),
    "convnext_tiny": (
        22,
        "convnext_tiny_downsampling_block_2",
        "convnext_tiny_stage_2_block_8_identity",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_clean_cuts(name):
    count, clean, unclean = COUNTS[name]
    cuts = clean_cuts(original(name))
    assert len(cuts) == count and clean in cuts and unclean not in cuts
    with pytest.raises(
        UsageError, match=f"{unclean}.*no clean cut of {name}"
    ) as caught:
        build(name, cut_layer=unclean)
    _, listed = str(caught.value).split("with a map of ")
    listed = re.findall(r"(?<=[:,] )\w+", listed)
    assert CUTS[name][0] in listed
    assert set(listed) <= set(cuts)


@pytest.mark.parametrize(
    ("name", "changes", "pattern"),
    [
        (
            "vgg16",
            {},
            "cut_layer is needed for vgg16.*8 x 8: block3_pool, block4_conv1",
        ),
        (
            "mobilenet",
            {"cut_layer": "conv_pw_99"},
            "'conv_pw_99' is no layer of mobilenet",
        ),
        ("vgg16", {"cut_layer": "block5_pool"}, "no clean cut of vgg16"),
        ("vgg16", {"input_size": 33, "cut_layer": "block4_pool"}, "33.*give 65 pixels"),
        ("vgg16", {"input_size": 32, "cut_layer": "block4_pool"}, "one position"),
        ("vgg16", {"input_size": 31}, "too small for vgg16: give at least 32"),
        ("xception", {"input_size": 70}, "at least 71"),
        ("inception_v3", {"input_size": 74}, "at least 75"),
        ("mobilenet_v2", {"width": 0.5}, "width=0.5 is not for mobilenet_v2"),
        ("mobilenet_v2", {"output_stride": 16}, "output_stride=16 is not for"),
        ("mobilenet_v2", {"weights": "some.pth"}, r"ending in .h5 or .weights.h5"),
        ("ResNet50", {}, "'ResNet50' is unknown.*resnet50.*densenet121"),
    ],
)
def test_errors(name, changes, pattern):
    with pytest.raises(UsageError, match=pattern):
        build(name, **changes)


# --- values -----------------------------------------------------------------------


def difference(name, source, **changes):
    """Our pieces with the source's weights against the source, relative."""
    backbone = build(name, prefix="b_", **changes)
    keras_applications.assign(source, APPLICATIONS[name], backbone)
    x = images(SIZES.get(name, 64))
    final = source(preprocessed(name, x)).numpy()
    assert np.abs(final).max() > 1e-3
    return np.abs(run(backbone, x)[1] - final).max() / np.abs(final).max()


@pytest.mark.parametrize(
    ("name", "cut_layer"),
    [
        *[
            pytest.param(n, None, marks=MARKS.get(n, LONG) or SLOW)
            for n in CUTS
            if n != "efficientnet_b0"  # see test_imagenet_weights
        ],
        ("vgg16", "block3_pool"),  # caffe
        pytest.param("mobilenet_v2", "block_5_add", marks=pytest.mark.slow),  # tf
        ("mobilenet_v3_small", "expanded_conv_7_add"),  # by itself; plain operations
        pytest.param("densenet121", "pool3_pool", marks=LONG),  # torch
        pytest.param("resnet50_v2", "conv4_block5_out", marks=LONG),
    ],
)
def test_equals_keras(name, cut_layer):
    source = original(name)
    scramble(source)
    assert difference(name, source, cut_layer=cut_layer) < 3e-6


def test_preprocessing_is_keras_own():
    x = images(64)
    for name in ("densenet121", "resnet50", "mobilenet", "convnext_tiny"):
        image = keras.Input((64, 64, 3))
        model = keras.Model(image, _pixels(APPLICATIONS[name], image))
        np.testing.assert_allclose(
            model(x), preprocessed(name, x), rtol=1e-5, atol=2e-5, err_msg=name
        )


# --- copies -----------------------------------------------------------------------


def test_seeds():
    first, second = built("mobilenet_v2"), build("mobilenet_v2", seed=3, prefix="xyz_")
    other = build("mobilenet_v2", seed=4)
    kernels = 0
    for a, b, c in zip(*map(values, (first, second, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        kernels += a.ndim > 1 and np.abs(a - c).max() > 0
    assert kernels == 52
    norms = [n for n in second.lower.layers if hasattr(n, "momentum")]
    assert {n.momentum for n in norms} == {0.9} and all(n.trainable for n in norms)
    frozen = [n for n in first.lower.layers if hasattr(n, "momentum")]
    assert len(frozen) == len(norms) and not any(n.trainable for n in frozen)
    x = images(64)
    for still, moving in zip(run(first, x), run(first, x, True), strict=True):
        np.testing.assert_array_equal(still, moving)


@pytest.mark.slow
def test_dropped_branches_are_seeded():
    x = images(64, 8)
    first, second = (build("efficientnet_b0", prefix=p) for p in ("a_", "longer_"))
    drops = [n for n in first.lower.layers if isinstance(n, keras.layers.Dropout)]
    assert len(drops) == 6
    assert len({n.seed for n in drops}) == 6
    for a, b in zip(run(first, x, True), run(second, x, True), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    twice = [first.lower(x, training=True).numpy() for _ in range(2)]
    assert np.abs(twice[0] - twice[1]).max() > 0


@pytest.mark.parametrize("name", TABLE)
def test_saved_pieces_come_back(name, tmp_path):
    backbone, x = built(name), images(SIZES[name])
    whole = backbone.whole()
    whole.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras", safe_mode=True)
    for a, b in zip(run(backbone, x), loaded(x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(loaded.trainable_variables) == len(whole.trainable_variables)


@pytest.mark.parametrize("name", TABLE)
def test_bfloat16_keeps_the_pixels(name):
    backbone = build(name, dtype="mixed_bfloat16", seed=3)
    x = images(SIZES[name])
    lower = backbone.lower(x)
    assert lower.dtype == "bfloat16"
    assert [o.dtype for o in backbone.upper(lower)] == ["bfloat16"] * 2
    assert "bfloat16" not in {v.dtype for v in backbone.lower.variables}
    wide = (keras.layers.Rescaling, keras.layers.Normalization)
    pixels = [n for n in backbone.lower.layers if isinstance(n, wide)]
    assert pixels and all(n.compute_dtype == "float32" for n in pixels)
    exact = run(built(name), x)[1]
    close = np.asarray(backbone.upper(lower)[1], "f4")
    assert np.abs(close - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.slow
def test_an_embedder_of_another_network():
    embedder = build_deml(
        backbone="vgg16",
        cut_layer="block4_pool",
        weights="none",
        input_size=64,
        scales=2,
        learners=2,
        embedding_dim=32,
    )
    assert embedder(images(64)).shape == (2, 32)


# --- weights ----------------------------------------------------------------------


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """A Keras cache of our own, and no network."""
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    asked = []

    def unreachable(origin, path, *_):
        asked.append((origin, path))
        raise urllib.error.URLError(OSError(101, "Network is unreachable"))

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    return tmp_path, asked


MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def put(folder, file, name):
    """Keras's weights file, with random weights."""
    source = original(name)
    scramble(source)
    (folder / "models").mkdir(exist_ok=True)
    source.save(folder / "models" / file)
    return source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mobilenet_v2", MOBILENET),
        pytest.param("efficientnet_b0", "efficientnetb0_notop.h5", marks=LONG),
    ],
)
def test_imagenet_weights(name, file, keras_home, monkeypatch):
    # Keras knows a hash for most files, which ours cannot have.
    monkeypatch.setattr(
        "keras.src.utils.file_utils.validate_file", lambda *_, **__: True
    )
    put(keras_home[0], file, name)
    theirs = original(name, weights="imagenet")
    x = images(64)
    final = theirs(preprocessed(name, x)).numpy()
    path = keras_home[0] / "models" / file
    for weights in ("imagenet", str(path)):
        ours = build(name, weights=weights, prefix="p_")
        found = run(ours, x)[1]
        assert np.abs(found - final).max() < 3e-6 * np.abs(final).max()
        norms = [n for n in ours.lower.layers if hasattr(n, "momentum")]
        assert norms and not any(n.trainable for n in norms)
    assert keras_home[1] == []


@pytest.mark.parametrize(
    ("name", "file", "cut_layer"),
    [
        pytest.param("mobilenet_v2", MOBILENET, None, marks=pytest.mark.slow),
        ("vgg16", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "block4_pool"),
        pytest.param(
            "nasnet_mobile",
            "nasnet_mobile_no_top.h5",
            "stem_bn1",
            marks=LONG,
        ),
    ],
)
def test_no_network(name, file, cut_layer, keras_home):
    folder, asked = keras_home
    with pytest.raises(DataError) as caught:
        build(name, weights="imagenet", cut_layer=cut_layer)
    ((origin, path),) = asked
    assert path == str(folder / "models" / file)
    message = str(caught.value)
    assert message == (
        f"weights='imagenet' of {name} cannot be downloaded ([Errno 101] Network is "
        f"unreachable): fetch {origin} by other means and put it into "
        f"{folder / 'models'} as {file}, or set weights='none'."
    )


@pytest.mark.slow
def test_wrong_files(keras_home, tmp_path):
    folder, asked = keras_home
    put(folder, MOBILENET, "mobilenet")
    path = folder / "models" / MOBILENET
    with pytest.raises(DataError, match=f"{MOBILENET} does not hold the ImageNet"):
        build("mobilenet_v2", weights="imagenet")
    with pytest.raises(DataError, match=f"{MOBILENET} are not those of mobilenet_v2"):
        build("mobilenet_v2", weights=str(path))
    path.write_bytes(b"no weights")
    with pytest.raises(DataError, match="are not those of mobilenet_v2"):
        build("mobilenet_v2", weights=str(path))
    # A file of another hash Keras downloads anew, and says so; not to be had, it goes.
    stale = folder / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    stale.write_bytes(b"stale")
    with pytest.raises(DataError, match=f"put it into .* as {stale.name}"):
        build("vgg16", weights="imagenet", cut_layer="block4_pool")
    assert len(asked) == 1 and not stale.exists()


@pytest.mark.slow
def test_spoilt_weights(tmp_path):
    source = original("mobilenet_v2")
    source.layers[-2].gamma.assign(np.full(1280, np.nan))
    source.save(tmp_path / "w.h5")
    with pytest.raises(DataError, match="w.h5 of mobilenet_v2 are spoilt, for Conv_1_"):
        build("mobilenet_v2", weights=str(tmp_path / "w.h5"))


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["imagenet", "file"])
def test_weights_are_read_in_float32_under_any_policy(weights, keras_home, monkeypatch):
    monkeypatch.setattr(
        "keras.src.utils.file_utils.validate_file", lambda *_, **__: True
    )
    source = put(keras_home[0], MOBILENET, "mobilenet_v2")
    if weights == "file":
        weights = str(keras_home[0] / "models" / MOBILENET)
    ours = build("mobilenet_v2", dtype="float32")
    keras_applications.assign(source, APPLICATIONS["mobilenet_v2"], ours)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        found = build("mobilenet_v2", weights=weights, dtype="float32")
        assert keras.config.dtype_policy().name == "bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
    for a, b in zip(values(found), values(ours), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_errors_pass():
    def function(**_):
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours") as caught:
        keras_applications.assign_imagenet(function, built("mobilenet_v2"))
    assert not isinstance(caught.value, DataError)
