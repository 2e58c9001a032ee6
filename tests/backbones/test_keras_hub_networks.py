"""DINOv2, DINOv3 and SigLIP: keras-hub's own networks are the oracle."""

import os
import subprocess
import sys
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest

from deml_tf.backbones import build_backbone, check_backbone
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import build_deml

NUMBERS: Any = {
    "patch_size": 8,
    "num_layers": 4,
    "hidden_dim": 24,
    "num_heads": 3,
    "intermediate_dim": 40,
}
DINOV2 = keras_hub.models.DINOV2Backbone
DINOV3 = keras_hub.models.DINOV3Backbone
SIGLIP = keras_hub.models.SigLIPBackbone
IMAGE = {"image_shape": (32, 32, 3)}
LIKE: Any = IMAGE | {"position_embedding_shape": (32, 32, 3)}
CASES = {
    "dinov2": (DINOV2, LIKE),
    "dinov2 registers": (DINOV2, LIKE | {"num_register_tokens": 2}),
    "dinov2 gated": (DINOV2, LIKE | {"use_swiglu_ffn": True}),
    "dinov2 resized": (DINOV2, IMAGE | {"position_embedding_shape": (56, 56, 3)}),
    "dinov2 antialiased": (
        DINOV2,
        IMAGE
        | {"position_embedding_shape": (56, 56, 3), "num_register_tokens": 1}
        | {"antialias_in_interpolation": True},
    ),
    "dinov3": (DINOV3, IMAGE | {"use_key_bias": False}),
    "dinov3 gated": (
        DINOV3,
        IMAGE
        | {"use_gated_mlp": True, "hidden_activation": "silu", "use_mlp_bias": False}
        | {"use_query_bias": False, "use_key_bias": False, "use_value_bias": False}
        | {"use_proj_bias": False, "num_register_tokens": 0, "rope_theta": 50.0},
    ),
    "siglip": (SIGLIP, IMAGE),
    "siglip exact": (SIGLIP, IMAGE | {"intermediate_activation": "gelu"}),
}


def images(size=32, count=2):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (count, size, size, 3)).astype("f4")


def made(kind, **changes):
    """A small network of keras-hub, every weight of it telling."""
    settings: Any = NUMBERS | changes
    if kind is SIGLIP:
        numbers = {n: v for n, v in NUMBERS.items() if n != "patch_size"}
        text = keras_hub.models.SigLIPTextEncoder(
            vocabulary_size=9, embedding_dim=24, **numbers
        )
        vision = keras_hub.models.SigLIPVisionEncoder(**settings)
        network: Any = SIGLIP(vision, text)
    else:
        network = kind(**settings)
    random = np.random.default_rng(0)
    for variable in network.weights:
        if "int" not in variable.dtype:
            variable.assign(variable + random.normal(0, 0.2, variable.shape))
    return network


@pytest.fixture(scope="module", params=CASES)
def preset(request, tmp_path_factory):
    """A network as it is loaded from a folder, and the folder's name."""
    kind, changes = CASES[request.param]
    folder = tmp_path_factory.mktemp("preset")
    made(kind, **changes).save_to_preset(str(folder))
    return keras_hub.models.Backbone.from_preset(str(folder)), f"vit:{folder}"


def stepwise(network, x, cut):
    """U, middle and end of a network of keras-hub, its extra tokens cut off."""
    if isinstance(network, SIGLIP):
        network, extra, pixels = network.vision_encoder, 0, x / 127.5 - 1
        tokens, blocks = network.embedding(pixels), network.encoder_layers
        norm, of_block = network.post_layer_norm, {}
    else:
        pixels = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        extra = 1 + network.num_register_tokens
        tokens, blocks = network.embeddings(pixels), network.encoder.layers
        norm, of_block = network.layernorm, {}
        if isinstance(network, DINOV3):
            turns = network.rope_embedding(
                keras.ops.convert_to_tensor(pixels, "float32")
            )
            of_block = {"position_embeddings": turns, "num_prefix_tokens": extra}
    for block in blocks[:cut]:
        tokens = block(tokens, **of_block)
    if of_block:
        of_block = of_block | {"num_prefix_tokens": 0}
    maps = [tokens[:, extra:]]
    for block in blocks[cut:]:
        maps.append(block(maps[-1], **of_block))
    side = int(maps[0].shape[1] ** 0.5)
    chosen = (maps[0], maps[-2], norm(maps[-1]))
    return [np.reshape(v, (-1, side, side, v.shape[-1])) for v in chosen]


@pytest.mark.parametrize(
    "cut", [1, pytest.param(3, marks=[pytest.mark.slow, pytest.mark.long])]
)
def test_maps_are_keras_hubs(preset, cut):
    network, name = preset
    backbone = build_backbone(name, input_size=32, cut_layer=f"block{cut}")
    x = images()
    lower = backbone.lower(x)
    found = [np.asarray(v) for v in (lower, *backbone.upper(lower))]
    for got, wanted in zip(found, stepwise(network, x, cut), strict=True):
        assert wanted.std() > 0.05
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)


def test_weights_are_read_in_float32_under_any_policy(preset):
    _, name = preset
    wanted = build_backbone(name, input_size=32)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        found = build_backbone(name, input_size=32, dtype="float32")
    finally:
        keras.config.set_dtype_policy(before)
    for ours, theirs in zip(weights_of(found), weights_of(wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def weights_of(backbone):
    layers = backbone.layers().values()
    return [np.asarray(weight) for layer in layers for weight in layer.weights]


@pytest.mark.parametrize("kind", ["dinov2 registers", "dinov3", "siglip"])
def test_another_size_of_the_images(kind, tmp_path):
    """As keras-hub itself resizes positions; SigLIP's are resized as ViT's."""
    case, changes = CASES[kind]
    made(case, **changes).save_to_preset(str(tmp_path))
    backbone = build_backbone(f"vit:{tmp_path}", input_size=48, cut_layer="block2")
    x = images(48)
    assert backbone.lower.output_shape == (None, 6, 6, 24)
    if kind == "siglip":
        assert np.isfinite(backbone.lower(x)).all()
        return
    network = keras_hub.models.Backbone.from_preset(
        str(tmp_path), image_shape=(48, 48, 3)
    )
    np.testing.assert_allclose(
        backbone.lower(x), stepwise(network, x, 2)[0], rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dinov2 gated", "dinov3", "siglip"])
def test_embedders_load_without_keras_hub(kind, tmp_path):
    case, changes = CASES[kind]
    made(case, **changes).save_to_preset(str(tmp_path / "preset"))
    embedder = build_deml(
        backbone=f"vit:{tmp_path / 'preset'}",
        input_size=32,
        scales=1,
        learners=2,
        embedding_dim=16,
    )
    path, pixels, out = (tmp_path / n for n in ("e.keras", "x.npy", "out.npy"))
    embedder.save(path)
    np.save(pixels, images())
    script = (
        "import sys; sys.modules['keras_hub'] = None\n"
        "import deml_tf, keras, numpy as np\n"
        f"embedder = keras.saving.load_model({str(path)!r})\n"
        f"np.save({str(out)!r}, embedder(np.load({str(pixels)!r})))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ)
    np.testing.assert_allclose(np.load(out), embedder(images()), atol=1e-6)


@pytest.mark.parametrize(
    "name", ["dinov2_small", "dinov3_vit_small_lvd1689m", "siglip2_base_patch16_224"]
)
def test_named_presets_are_known(name, monkeypatch):
    def download(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("kagglehub.model_download", download)
    with pytest.raises(DataError, match=f"preset {name} cannot be fetched"):
        build_backbone(f"vit:{name}", input_size=224)


@pytest.mark.parametrize("folder", ["{0}", "~"])
def test_sizes_of_patches(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    made(DINOV2, **LIKE).save_to_preset(str(tmp_path))
    with pytest.raises(UsageError, match="input_size=36 is no multiple of the 8"):
        build_backbone(f"vit:{folder.format(tmp_path)}", input_size=36)


def test_the_size_of_patches_is_known_before_anything_is_built():
    given = {"weights": "none", "cut_layer": None, "batch_norm": "auto"}
    options = {"width": 1.0, "output_stride": 32}
    with pytest.raises(UsageError, match="is no multiple of the 16 .* give 224 or 240"):
        check_backbone("vit:tiny", input_size=230, **given, options=options)
