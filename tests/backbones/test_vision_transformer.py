import dataclasses
import json
import os
import shutil
import subprocess
import sys
import types
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.backbones import build_backbone, vision_transformer
from deml_tf.backbones.vision_transformer_size import VisionTransformerSize
from deml_tf.backbones.weights import keras_hub_presets
from deml_tf.backbones.weights.position_embeddings import resized_positions
from deml_tf.decoupling import AdversaryDecoupling
from deml_tf.errors import DataError, UsageError
from deml_tf.losses.binomial_deviance import BinomialDeviance
from deml_tf.models.cost import gmacs, parameters
from deml_tf.models.embedder import build_deml, core_of, explainer
from deml_tf.training.trainer import Trainer

NUMBERS = {"num_layers": 4, "num_heads": 3, "hidden_dim": 24, "patch_size": 8}


@pytest.fixture(autouse=True)
def mini(monkeypatch):
    """Sizes that take no time: 4 or 2 blocks, 24 channels, patches of 8 pixels."""
    size = VisionTransformerSize(layers=4, heads=3, hidden=24, mlp=40, patch=8)
    monkeypatch.setitem(vision_transformer.SIZES, "mini", size)
    size = VisionTransformerSize(layers=2, heads=3, hidden=24, mlp=40, patch=8)
    monkeypatch.setitem(vision_transformer.SIZES, "duo", size)


def small(**changes):
    settings = {"input_size": 32, "weights": "none"} | changes
    return build_backbone("vit:mini", **settings)


def images(size=32, count=2):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (count, size, size, 3)).astype("f4")


def run(backbone, x):
    lower = backbone.lower(x)
    return [np.asarray(v, "f4") for v in (lower, *backbone.upper(lower))]


def values(backbone):
    return [v.numpy() for v in backbone.lower.weights + backbone.upper.weights]


def hub(kind=keras_hub.models.ViTBackbone, size=32, seed=0, **changes):
    """A keras-hub backbone of the mini size, every weight of it telling."""
    key = "mlp_dim" if kind is keras_hub.models.ViTBackbone else "intermediate_dim"
    settings: Any = NUMBERS | {key: 40, "image_shape": (size, size, 3)} | changes
    made = kind(**settings)
    random = np.random.default_rng(seed)
    for variable in made.weights:
        variable.assign(variable + random.normal(0, 0.2, variable.shape))
    return made


def saved(made, folder):
    made.save_to_preset(str(folder))
    return f"vit:{folder}"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A mini ViT of keras-hub and the name of its folder."""
    made = hub()
    return made, saved(made, tmp_path_factory.mktemp("preset"))


@pytest.fixture
def folder(kept, tmp_path):
    """A copy of that folder, to be changed."""
    shutil.copytree(kept[1].removeprefix("vit:"), tmp_path, dirs_exist_ok=True)
    return tmp_path


def stepwise(made, pixels, cut):
    """Lower's and upper's maps of a keras-hub backbone, its extra tokens cut off."""
    _, embedding, encoder = made.layers
    extra = 2 if isinstance(made, keras_hub.models.DeiTBackbone) else 1
    extra = extra if getattr(made, "use_class_token", True) else 0

    def run(blocks, x):
        for block in blocks:
            x = block(x)
            x = x[0] if isinstance(x, tuple) else x
        return x

    u = run(encoder.encoder_layers[:cut], embedding(pixels))[:, extra:]
    mid = run(encoder.encoder_layers[cut:-1], u)
    final = encoder.layer_norm(run(encoder.encoder_layers[-1:], mid))
    side = int(u.shape[1] ** 0.5)
    return [np.reshape(v, (-1, side, side, v.shape[-1])) for v in (u, mid, final)]


# --- shapes, names, cost ------------------------------------------------------------


@pytest.mark.parametrize("cut, default", [(None, 3), ("block1", 1), ("block3", 3)])
def test_shapes(cut, default):
    backbone = small(cut_layer=cut, input_size=40)
    assert backbone.lower.input_shape == (None, 40, 40, 3)
    grid = (None, 5, 5, 24)
    assert backbone.lower.output_shape == grid
    assert [o.shape for o in backbone.upper.outputs] == [grid, grid]
    assert backbone.gate_bias == 3.0
    ends = [layer.name for layer in backbone.lower.layers if layer.name[5:].isdigit()]
    assert ends == [f"block{n}" for n in range(1, default + 1)]


def test_mid_is_u_when_upper_has_one_block():
    u, mid, _ = run(small(cut_layer="block3"), images())
    np.testing.assert_array_equal(u, mid)


@pytest.mark.parametrize("size, published", [("tiny", 5.5e6), ("small", 21.7e6)])
def test_default_cut_and_published_size(size, published):
    found = vision_transformer.architecture(f"vit:{size}")
    assert next(iter(found.cut_layers)) == "block9"
    assert set(found.cut_layers) == {f"block{n}" for n in range(1, 12)}
    numbers = vision_transformer.SIZES[size]
    hidden, tokens = numbers.hidden, 1 + 14 * 14
    block = 4 * hidden * (hidden + 1) + 4 * hidden
    block += numbers.mlp * (hidden + 1) + hidden * (numbers.mlp + 1)
    count = 12 * block + 768 * hidden + hidden + (1 + tokens) * hidden + 2 * hidden
    assert count == pytest.approx(published, rel=0.01)


def test_tiny_is_of_that_size():
    whole = build_backbone("vit:tiny", input_size=224, weights="none").whole()
    assert parameters(whole) == 5_524_416
    # DeiT's paper gives 1.3 GFLOPs, a multiply-accumulate being one.
    assert gmacs(whole, 224, 224, 3) == pytest.approx(1.25, abs=0.01)


@pytest.mark.slow
def test_base_is_the_presets():
    presets: Any = keras_hub.models.ViTBackbone.presets
    whole = build_backbone("vit:base", input_size=224, weights="none").whole()
    published = presets["vit_base_patch16_224_imagenet"]["metadata"]["params"]
    assert parameters(whole) == published
    assert gmacs(whole, 224, 224, 3) == pytest.approx(17.55, abs=0.05)


def test_prefix_and_seed():
    plain, again, other = small(), small(prefix="scale2_"), small(seed=1)
    names = [layer.name for part in (again.lower, again.upper) for layer in part.layers]
    assert all(name.startswith("scale2_") for name in names)
    assert again.whole().name == "scale2_vit_mini"
    for a, b in zip(values(plain), values(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(
        np.any(a != b) for a, b in zip(values(plain), values(other), strict=True)
    )


def test_random_weights_all_differ():
    kernels = [v for v in values(small()) if v.std() > 0]
    # Of 4 blocks: query, key, value, output, two dense; patches, tokens, positions.
    assert len(kernels) == 4 * 6 + 3
    assert len({v.tobytes() for v in kernels}) == len(kernels)
    for kernel in kernels:
        assert kernel.std() == pytest.approx(0.0176, rel=0.25)  # of a cut normal
        assert np.abs(kernel).max() <= 0.04


# --- values: keras-hub is the oracle ------------------------------------------------


def test_without_a_class_token_it_is_keras_hubs(tmp_path):
    made, x = hub(use_class_token=False), images()
    name = saved(made, tmp_path)
    expected = np.reshape(made(x / 127.5 - 1), (2, 4, 4, 24))
    assert expected.std() > 0.1
    for cut in ("block1", "block3"):
        backbone = build_backbone(name, input_size=32, cut_layer=cut)
        np.testing.assert_allclose(run(backbone, x)[2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind", [keras_hub.models.ViTBackbone, keras_hub.models.DeiTBackbone]
)
def test_extra_tokens_are_dropped_at_the_cut(tmp_path, kind):
    made = hub(kind)
    backbone = build_backbone(saved(made, tmp_path), input_size=32, cut_layer="block2")
    x = images()
    if kind is keras_hub.models.ViTBackbone:
        pixels = x / 127.5 - 1
    else:
        pixels = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = stepwise(made, pixels, 2)
    for got, wanted in zip(run(backbone, x), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=2e-5)
    # They had their say in lower: dropped from the start, U would be another.
    _, embedding, encoder = made.layers
    tokens = embedding(pixels)[:, (1 if kind is keras_hub.models.ViTBackbone else 2) :]
    for block in encoder.encoder_layers[:2]:
        tokens = block(tokens)
        tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    apart = np.abs(np.reshape(tokens, expected[0].shape) - expected[0]).max()
    assert apart > 1e-2


def test_biases_left_out(tmp_path):
    made = hub(use_mha_bias=False, use_mlp_bias=False, use_patch_bias=False)
    # keras-hub 0.32 leaves these out of its encoder's own config, not the backbone's.
    backbone = build_backbone(saved(made, tmp_path), input_size=32)
    x = images()
    for got, wanted in zip(
        run(backbone, x), stepwise(made, x / 127.5 - 1, 3), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=2e-5)


def test_the_presets_own_pixels(kept, folder):
    made, _ = kept
    converter = keras_hub.layers.ViTImageConverter(
        scale=[0.01, 0.02, 0.03], offset=[-1.0, -2.0, 0.5]
    )
    converter.save_to_preset(str(folder))
    x = images()
    got, *_ = run(build_backbone(f"vit:{folder}", input_size=32), x)
    pixels = x * [0.01, 0.02, 0.03] + [-1.0, -2.0, 0.5]
    wanted, *_ = stepwise(made, pixels.astype("f4"), 3)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=2e-5)


def test_positions_of_another_size(kept):
    made, name = kept
    backbone = build_backbone(name, input_size=48)
    bigger = hub(size=48)
    table = resized_positions(
        np.asarray(made.layers[1].position_embedding.embeddings), 1, (4, 4), (6, 6)
    )
    for source, target in zip(made.weights, bigger.weights, strict=True):
        target.assign(table if "position" in target.path else source)
    x = images(48)
    for got, wanted in zip(
        run(backbone, x), stepwise(bigger, x / 127.5 - 1, 3), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("wanted", [(6, 6), (3, 3), (4, 7), (12, 2)])
def test_resized_positions_are_pillows(wanted):
    random = np.random.default_rng(0)
    given = random.normal(size=(2 + 4 * 5, 3)).astype("f4")
    got = resized_positions(given, 2, (4, 5), wanted)
    np.testing.assert_array_equal(got[:2], given[:2])
    for channel in range(3):
        image = Image.fromarray(given[2:, channel].reshape(4, 5))
        expected = np.asarray(image.resize(wanted[::-1], Image.Resampling.BICUBIC))
        np.testing.assert_allclose(
            got[2:, channel].reshape(wanted), expected, atol=2e-6
        )


def test_positions_of_the_same_size_stay():
    given = np.random.default_rng(0).normal(size=(1 + 9, 4)).astype("f4")
    np.testing.assert_array_equal(resized_positions(given, 1, (3, 3), (3, 3)), given)


# --- precision, XLA, files ----------------------------------------------------------


def test_bfloat16_is_near_and_keeps_the_pixels(kept):
    _, name = kept
    x = images()
    exact = build_backbone(name, input_size=32)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build_backbone(name, input_size=32)
    finally:
        keras.config.set_dtype_policy(policy)
    assert half.lower.output.dtype == half.upper.outputs[1].dtype == "bfloat16"
    assert half.lower.get_layer("pixels").compute_dtype == "float32"
    for a, b in zip(run(exact, x), run(half, x), strict=True):
        assert np.abs(a - b).max() < 0.05 * np.abs(a).max()
    for a, b in zip(values(exact), values(half), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_file(tmp_path):
    path = tmp_path / "own.weights.h5"
    given = small(seed=3)
    given.whole().save_weights(path)
    for a, b in zip(values(given), values(small(weights=path)), strict=True):
        np.testing.assert_array_equal(a, b)


def tiny_deml(**changes):
    settings = {
        "backbone": "vit:duo",
        "weights": "none",
        "input_size": 32,
        "scales": 2,
        "learners": 2,
        "embedding_dim": 32,
    }
    return build_deml(**settings | changes)


@pytest.mark.parametrize("rotary_theta", [None, 100.0])
def test_saved_and_loaded_it_stays_frozen(rotary_theta, tmp_path, monkeypatch):
    size = dataclasses.replace(
        vision_transformer.SIZES["duo"], rotary_theta=rotary_theta
    )
    monkeypatch.setitem(vision_transformer.SIZES, "duo", size)
    embedder = tiny_deml(scales=1, train_backbone=False)
    embedder.save(tmp_path / "embedder.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "embedder.keras")
    np.testing.assert_array_equal(loaded(images()), embedder(images()))
    trained = [v.path for v in core_of(loaded).trainable_variables]
    assert trained == [v.path for v in core_of(embedder).trainable_variables]
    assert len(trained) == 5


@pytest.mark.parametrize("multi_layer", [False, True])
def test_deml_on_the_token_grid(multi_layer):
    embedder = tiny_deml(walk_multi_layer=multi_layer, backbone="vit:mini")
    outputs = explainer(embedder)(images(50, 3))
    assert outputs["embedding"].shape == (3, 32)
    assert outputs["saliency"].shape == (3, 2, 4, 4)
    assert outputs["boxes"].shape == (3, 2, 4)
    assert not np.any(outputs["fallback"])
    np.testing.assert_allclose(np.sum(outputs["saliency"], (2, 3)), 1, rtol=1e-5)
    gate = core_of(embedder).get_layer("scale1_channel_attention")
    assert gate.output.shape[2:] == (4, 4, 24)


def test_cost_of_deml():
    """By hand; every learner of every scale counts."""
    core = core_of(tiny_deml(learners=3, embedding_dim=36))

    def blocks(tokens):
        return tokens * (4 * 24**2 + 2 * 24 * 40) + 2 * tokens**2 * 24

    lower = 16 * 8 * 8 * 3 * 24 + blocks(17)
    gate = 16 * (24 * 3 + 3 * 24)
    scale = lower + 3 * (gate + blocks(16) + 24 * 6)
    rest = gmacs(core, 32, 32, 3) * 1e9 - 2 * scale  # the walks and the zoom
    assert rest >= 0
    assert rest == pytest.approx(
        gmacs(core_of(tiny_deml()), 32, 32, 3) * 1e9
        - 2 * (lower + 2 * (gate + blocks(16) + 24 * 8))
    )


@pytest.mark.slow
def test_xla_compiles_the_core():
    core = core_of(tiny_deml(scales=1, learners=1))
    x = tf.constant(images())
    compiled = tf.function(lambda x: core(x), jit_compile=True)(x)
    for name, value in core(x).items():
        np.testing.assert_allclose(
            np.asarray(compiled[name], "f4"), np.asarray(value, "f4"), atol=2e-5
        )
    graph = tf.function(lambda x: core(x)).get_concrete_function(x).graph
    hosts = {op.type for op in graph.get_operations() if "PyFunc" in op.type}
    assert not hosts


@pytest.mark.slow
def test_deml_trains_and_reloads(tmp_path):
    keras.utils.set_random_seed(1)
    embedder = tiny_deml(scales=1)
    trainer = Trainer(
        core_of(embedder), BinomialDeviance(), AdversaryDecoupling(hidden=8)
    )
    trainer.compile(keras.optimizers.SGD(1e-4))
    before = [v.numpy() for v in trainer.core.trainable_variables]
    labels = np.repeat(np.arange(4), 2).astype("int32")
    step = tf.function(trainer.train_step)
    losses = [
        float(step((tf.constant(images(count=8)), tf.constant(labels)))["loss"])
        for _ in range(3)
    ]
    assert np.all(np.isfinite(losses)) and losses[2] < losses[0]
    for variable, old in zip(trainer.core.trainable_variables, before, strict=True):
        if not variable.path.endswith("key/bias"):  # softmax does not feel it
            assert np.any(variable.numpy() != old), variable.path
    path, pixels = tmp_path / "embedder.keras", tmp_path / "pixels.npy"
    embedder.save(path)
    np.save(pixels, images())
    expected = np.asarray(embedder(images()))
    # In a process without keras-hub, which a saved embedder does not need.
    script = (
        "import sys; sys.modules['keras_hub'] = None\n"
        "import deml_tf, keras, numpy as np\n"
        f"embedder = keras.saving.load_model({str(path)!r})\n"
        f"x = np.load({str(pixels)!r})\n"
        f"np.save({str(tmp_path / 'out.npy')!r}, embedder(x))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)


# --- what a user can get wrong ------------------------------------------------------


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("vit:mini", {"input_size": 44}, "input_size=44 .* 8 pixels .* give 40 or 48"),
        ("vit:mini", {"input_size": 8}, "input_size=8 is too small.*at least 16"),
        ("vit:mini", {"cut_layer": "block4"}, "'block4' .*: .*block3, block1, block2"),
        ("vit:mini", {"cut_layer": "stage5"}, "cut_layer='stage5'.*block3"),
        ("vit:mini", {"weights": "imagenet"}, "random weights alone: set weights='n"),
        ("vit:mini", {"width": 0.5}, "width=0.5 is not for vit:mini"),
        ("vit:mini", {"output_stride": 16}, "output_stride=16 is not for vit:mini"),
        ("vit:huge", {}, "'vit:huge' is neither .*vit:tiny.*vit_base_patch16_224_i"),
        ("vit:", {}, "'vit:' is neither"),
        ("vim:tiny", {}, "'vim:tiny' is unknown: .*vit:tiny, vit:small, vit:base"),
    ],
)
def test_usage(name, changes, message):
    settings = {"input_size": 64, "weights": "none"} | changes
    with pytest.raises(UsageError, match=message) as caught:
        build_backbone(name, **settings)
    assert "\n" not in str(caught.value)


def test_without_keras_hub(monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == "keras_hub"]:
        monkeypatch.setitem(sys.modules, module, None)
    small()
    message = "keras-hub, which is not installed: pip install deml_tf.vit."
    with pytest.raises(UsageError, match=message):
        build_backbone("vit:vit_base_patch16_224_imagenet", input_size=64)


def test_without_network(monkeypatch):
    def download(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("kagglehub.model_download", download)
    name = "vit_base_patch16_224_imagenet"
    message = rf"preset {name} cannot be fetched \(ConnectionError\).*backbone=vit:FOLD"
    with pytest.raises(DataError, match=message) as caught:
        build_backbone(f"vit:{name}", input_size=64)
    assert "\n" not in str(caught.value)


def test_a_named_preset(monkeypatch, kept, folder):
    made, _ = kept

    def download(handle, path):
        assert handle.startswith("keras/vit/keras/vit_base_patch16_224_imagenet/")
        if not (folder / path).exists():
            raise ValueError(f"{path} is not present in the model files")
        return str(folder / path)

    monkeypatch.setattr("kagglehub.model_download", download)
    x = images()
    got = run(build_backbone("vit:vit_base_patch16_224_imagenet", input_size=32), x)
    for a, b in zip(got, stepwise(made, x / 127.5 - 1, 3), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("spoil", ["config", "weights", "cut short", "pixels", "empty"])
def test_spoilt_folders(folder, spoil):
    config, weights = folder / "config.json", folder / "model.weights.h5"
    if spoil == "config":
        config.write_text("{")
    elif spoil == "weights":
        weights.unlink()
    elif spoil == "cut short":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif spoil == "pixels":
        (folder / "image_converter.json").write_text("{")
    else:
        for file in folder.iterdir():
            file.unlink()
    with pytest.raises(DataError, match=f"preset {folder} cannot be read") as caught:
        build_backbone(f"vit:{folder}", input_size=32)
    assert "\n" not in str(caught.value)


def test_folders_of_other_networks(tmp_path):
    made = keras_hub.models.CLIPVisionEncoder(
        patch_size=8,
        num_layers=2,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=8,
        image_shape=(16, 16, 3),
    )
    with pytest.raises(UsageError, match="holds a CLIPVisionEncoder: .* DINOV2Backb"):
        build_backbone(saved(made, tmp_path / "other"), input_size=32)
    with pytest.raises(UsageError, match="8 x 16 pixels and 4 block"):
        build_backbone(saved(hub(patch_size=(8, 16)), tmp_path / "long"), input_size=32)


@pytest.mark.parametrize(
    "changes",
    [{"num_layers": 10**7}, {"hidden_dim": 3 * 10**6}, {"image_shape": [10**9] * 3}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_folder_of_a_network_beyond_measure(folder, changes, monkeypatch):
    config = json.loads((folder / "config.json").read_text())
    config["config"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(keras_hub_presets, "_network", None)  # would build it
    with pytest.raises(DataError, match="blocks and about .* weights: give") as caught:
        build_backbone(f"vit:{folder}", input_size=32)
    assert "\n" not in str(caught.value)


def test_a_folder_with_weights_that_are_no_numbers(folder):
    made = keras_hub.models.Backbone.from_preset(str(folder))
    made.layers[-1].layer_norm.gamma.assign([np.nan] * 24)
    saved(made, folder)
    with pytest.raises(DataError, match="norm holds NaN or infinity: give"):
        build_backbone(f"vit:{folder}", input_size=32)


def test_a_folder_runs_nothing_of_its_own(folder):
    module: Any = types.ModuleType("evil_module")
    module.Evil = type("Evil", (), {"__init__": lambda self, **k: ran.append(1)})
    ran = []
    config = json.loads((folder / "config.json").read_text())
    config |= {"module": "evil_module", "class_name": "Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    sys.modules["evil_module"] = module
    try:
        build_backbone(f"vit:{folder}", input_size=32)
    except DataError:
        pass
    finally:
        del sys.modules["evil_module"]
    assert not ran
