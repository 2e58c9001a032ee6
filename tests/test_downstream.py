"""The package in someone else's program: what is imported, saved, loaded, fitted."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from test_registered import classes_in_the_sources

from deml_tf import layers
from deml_tf.losses import BinomialDeviance
from deml_tf.models.embedder import build_deml
from deml_tf.serving.servable import Servable
from tests.search.made_index import DIM, drawn, write_index

TINY = {
    "weights": "none",
    "width": 0.25,
    "input_size": 40,
    "resize_size": 48,
    "output_stride": 16,
    "scales": 2,
    "learners": 2,
    "embedding_dim": 32,
    "walk_multi_layer": True,
    "pooled_gates": True,
    "source_size": 48,
}
# What a program that only loads does; its arguments: images, output, embedders.
LOADING = """
import json, sys
import keras, deml_tf
import numpy as np


heavy = [name for name in ("faiss", "sklearn.cluster") if name in sys.modules]
names = [n for n in keras.saving.get_custom_objects() if n.startswith("deml_tf>")]
images = np.load(sys.argv[1])
numbers = [
    np.asarray(keras.saving.load_model(path, safe_mode=True)(images))
    for path in sys.argv[3:]
]
np.savez(sys.argv[2], *numbers)
print(json.dumps({"heavy": heavy, "names": names}))
"""
ROOT = Path(__file__).resolve().parent.parent
EMBEDDER = "runs/mine/embedder.keras"
EXPORT = "export/models/mine/1"
PAGES = (
    "README.md",
    "docs/keras.md",
    "docs/losses.md",
    "docs/export.md",
    "docs/from-tensorflow-addons.md",
    "docs/search.md",
)  # those with code for another program
BLOCKS = {
    f"{page}-{n}": block
    for page in PAGES
    for n, block in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    )
}


def images_of(*shape, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, shape).astype("float32")


@pytest.fixture(scope="module")
def embedder():
    return build_deml(**TINY)


@pytest.fixture(scope="module")
def kept(embedder, tmp_path_factory):
    """A folder in which there was a training, its export, and an index of images."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "runs" / "mine").mkdir(parents=True)
    embedder.save(folder / EMBEDDER)
    Servable(embedder, (0, 1), (0, 1)).save(folder / EXPORT)
    photos = [folder / f"photo{n}.png" for n in range(12)]
    for n, path in enumerate(photos):
        path.write_bytes(drawn(n))
    index = write_index(folder / "made", photos, ["tern"] * len(photos))
    index.rename(folder / "photos.index")
    return folder


@pytest.fixture
def mixed_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def small_network():
    convolution: Any = {"padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Conv2D(16, 3, strides=2, **convolution),
            keras.layers.Conv2D(16, 3, strides=2, **convolution),
        ]
    )


def with_our_layers(network):
    """Looks twice, the second time at what the object attention found."""
    images = keras.Input((32, 32, 3))
    found = layers.ObjectAttention()(network(images))
    closer = network(layers.Zoom(32)(images, found["boxes"]))
    gated = layers.ChannelAttention(2, name="gates")(closer)  # (b, 2, h, w, c)
    parts = keras.layers.Dense(8, dtype="float32")(ops.mean(gated, axis=(2, 3)))
    return keras.Model(images, {"parts": parts, "boxes": found["boxes"]})


def check_that_it_learns(network, path):
    keras.utils.set_random_seed(0)
    model = with_our_layers(network)
    x, labels = images_of(8, 32, 32, 3), np.repeat(np.arange(4), 2)
    model.save(path)
    loaded: Any = keras.saving.load_model(path, safe_mode=True)
    expected = model(x)
    for name, found in loaded(x).items():
        np.testing.assert_array_equal(found, expected[name])
    before = loaded.get_layer("gates").get_weights()
    loaded.compile(keras.optimizers.Adam(1e-3), {"parts": BinomialDeviance()})
    losses = loaded.fit(x, {"parts": labels}, 8, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    after = loaded.get_layer("gates").get_weights()
    assert len(after) == 4
    for old, new in zip(before, after, strict=True):
        assert np.isfinite(new).all() and np.abs(new - old).max() > 1e-4


def test_our_layers_in_another_network(tmp_path):
    check_that_it_learns(small_network(), tmp_path / "model.keras")


def test_our_layers_in_mixed_bfloat16(mixed_bfloat16, tmp_path):
    network = small_network()
    assert network.layers[-1].compute_dtype == "bfloat16"
    check_that_it_learns(network, tmp_path / "model.keras")


@pytest.mark.slow
def test_the_export_as_a_keras_layer(kept, embedder):
    pixels = images_of(3, 50, 70, 3).astype("uint8")
    expected = np.asarray(embedder(pixels))
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in pixels])
    for endpoint, values, given in (
        ("images_float", pixels, keras.Input((None, None, 3))),
        ("serving_default", encoded, keras.Input((), dtype="string")),
    ):
        layer = keras.layers.TFSMLayer(kept / EXPORT, endpoint, trainable=False)
        model = keras.Model(given, layer(given))
        found = model(values)
        np.testing.assert_allclose(found["embedding"], expected, atol=1e-6, rtol=0)
        assert found["boxes"].shape == (3, 2, 4)
        assert not model.trainable_variables


@pytest.mark.slow
def test_embedders_load_in_a_fresh_process_that_imports_us_alone(
    kept, embedder, tmp_path
):
    small = {"weights": "none", "learners": 1, "embedding_dim": 32, "scales": 1}
    options = {
        "googlenet": small
        | {"width": 0.25, "input_size": 64, "scales": 2}
        | {"precision": "bfloat16", "zoom_source": "previous"},
        "vit:tiny": small | {"input_size": 48},
        "mobilenet": small | {"input_size": 64, "cut_layer": "conv_pw_11_relu"},
    }
    images = images_of(2, 50, 70, 3)
    np.save(tmp_path / "images.npy", images)
    expected, paths = [np.asarray(embedder(images))], [kept / EMBEDDER]
    for backbone, choice in options.items():
        model = build_deml(backbone=backbone, **choice)
        expected.append(np.asarray(model(images)))
        paths.append(tmp_path / f"{len(paths)}.keras")
        model.save(paths[-1])
    arguments = [tmp_path / "images.npy", tmp_path / "found.npz", *paths]
    done = subprocess.run(
        [sys.executable, "-c", LOADING, *map(str, arguments)],
        cwd=tmp_path,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert set(said["names"]) == {
        f"deml_tf>{name}" for name in classes_in_the_sources()
    }
    assert not said["heavy"]
    found = np.load(arguments[1])
    for numbers, name in zip(expected, found, strict=True):
        np.testing.assert_allclose(found[name], numbers, atol=1e-6, rtol=0)


def test_the_pages_show_the_uses():
    for use in ("build_deml(", "load_model(", "ObjectAttention(", "TFSMLayer("):
        assert sum(use in block for block in BLOCKS.values()) == 1


def test_no_other_page_has_code_that_is_not_run():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = {p.relative_to(ROOT).as_posix() for p in pages if "```" in p.read_text()}
    assert found == {*PAGES, "docs/pipelines.md"}  # whose code tests/bulk runs


def linear_model():
    """What the pages call `model` where they do not make one."""
    layers_of = [keras.Input((96, 96, 3)), keras.layers.Rescaling(1 / 255)]
    layers_of += [keras.layers.AveragePooling2D(48), keras.layers.Flatten()]
    model = keras.Sequential([*layers_of, keras.layers.Dense(4)])
    model.compile("adam", BinomialDeviance())
    return model


def written(images):
    for n, image in enumerate(images):
        tf.io.write_file(f"{n}.png", tf.io.encode_png(image))
    return [f"{n}.png" for n in range(len(images))]


def one_step(fit):
    """A `fit` of one step, in the last of the epochs that it is told."""

    def of_one_step(self, *args, **options):
        if "steps_per_epoch" in options:
            assert options["steps_per_epoch"] == 100
            options["initial_epoch"] = options["epochs"] - 1
            options["steps_per_epoch"] = 1
        return fit(self, *args, **options)

    return of_one_step


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_the_pages_run(name, kept, embedder, monkeypatch):
    """Each block by itself, among the files and names it takes for granted."""
    monkeypatch.chdir(kept)
    # A network's graph takes longer than its one step.
    eager = functools.partialmethod(keras.Model.compile, run_eagerly=True)
    monkeypatch.setattr(keras.Model, "compile", eager)
    block = BLOCKS[name]
    classes = 32 if "PKSampler(" in block else 4
    images = images_of(2 * classes, 96, 96, 3).astype("uint8")
    names = {"images": images, "labels": np.repeat(np.arange(classes), 2)}
    names |= {"model": linear_model(), "files": written(images)}
    names |= {"embeddings": images_of(3, DIM)}  # of a search
    names |= {"val_images": images[:8], "val_labels": names["labels"][:8]}
    if "trainable = True" in block:
        names["embedder"] = keras.saving.load_model(EMBEDDER)
    monkeypatch.setattr(keras.Model, "fit", one_step(keras.Model.fit))
    exec(compile(block, name, "exec"), names)
    if EMBEDDER in block or EXPORT in block:
        expected = np.asarray(embedder(images))
        np.testing.assert_allclose(names["embeddings"], expected, atol=1e-6, rtol=0)
    elif "trainable = True" in block:
        trained = {v.path for v in names["embedder"].trainable_variables}
        assert {path.rsplit("/", 1)[1] for path in trained} == {
            *("kernel", "kernel_0"),  # of backbones and projections
            *("hidden_kernel", "hidden_bias", "gate_kernel", "gate_bias"),
        }
    elif "IndexReader(" in block:
        assert names["cosines"].shape == (3, 10) and names["unknown"].shape == (3,)
    elif "build_deml(" in block:
        assert names["embeddings"].shape == (8, 512)
        rows, labels = np.asarray(names["embeddings"]), names["labels"]
        cosines = rows @ rows.T - 3 * np.eye(8)  # itself comes last
        same = labels[np.argsort(-cosines, axis=1)] == labels[:, None]
        for k in (1, 2, 4, 8):
            recall = same[:, :k].any(axis=1).mean()
            assert names["scores"][f"recall_at_{k}"] == recall
    else:
        parts = names["model"](images[:8])
        assert parts.shape == ((8, 3, 64) if "Zoom(" in block else (8, 4))
        assert np.isfinite(parts).all()
