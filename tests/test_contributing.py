"""The examples in CONTRIBUTING.md, registered as it says and used together."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf import backbones, decoupling, layers, losses
from deml_tf.cli.settings import constructor_settings
from deml_tf.config import DataConfig, LossConfig, TrainConfig
from deml_tf.data import sets
from deml_tf.data.selection import read_split
from deml_tf.errors import UsageError
from deml_tf.models.embedder import build_deml, core_of, explainer
from deml_tf.training.build import build_trainer

PAGE = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(# deml_tf/.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def examples():
    """What the blocks define, by the name of the file that each is for."""
    found = {}
    for block in BLOCKS:
        name = block.splitlines()[0].removeprefix("# ")
        found[name] = {"__name__": Path(name).stem}
        exec(compile(block, name, "exec"), found[name])
    return found


@pytest.fixture
def registered(examples, monkeypatch):
    """Each example in its dict, under the name that the page gives it."""
    for name, seam, what in (
        ("losses/proxy_softmax", losses.METRIC_LOSSES, "ProxySoftmax"),
        ("decoupling/orthogonal", decoupling.DECOUPLINGS, "OrthogonalDecoupling"),
        ("layers/peak", layers.REGION_RULES, "Peak"),
        ("backbones/plain", backbones.BACKBONES, "ARCHITECTURE"),
        ("data/sets/file_names", sets.SETS, "FILE_NAMES"),
    ):
        key = Path(name).name
        assert f'`"{key}": ' in PAGE
        monkeypatch.setitem(seam, key, examples[f"deml_tf/{name}.py"][what])


def test_the_page_has_an_example_for_each_seam(examples):
    assert len(examples) == PAGE.count("```python") == 5


def together(**options):
    """A trainer of all of them, and its embedder."""
    keras.utils.set_random_seed(0)
    embedder = build_deml(
        backbone="plain",
        region_rule="peak",
        peak_side=0.25,
        weights="none",
        input_size=48,
        scales=2,
        learners=2,
        embedding_dim=16,
        **options,
    )
    trainer = build_trainer(
        embedder,
        LossConfig(
            loss="proxy_softmax",
            loss_arguments={"scale": 8.0},
            decoupling="orthogonal",
            decoupling_arguments={"margin": 0.0},
        ),
        TrainConfig(learning_rate=1e-3),
        num_classes=4,
    )
    return trainer, embedder


def drawn_images():
    return np.random.default_rng(0).uniform(0, 255, (8, 48, 48, 3)).astype("float32")


@pytest.mark.usefixtures("registered")
def test_together_they_train(tmp_path):
    trainer, embedder = together()
    images = drawn_images()
    boxes = explainer(embedder)(images)["boxes"]
    sides = boxes[:, :, 2] - boxes[:, :, 0]
    np.testing.assert_allclose(sides[:, 1], 0.25 * sides[:, 0], atol=1e-6)

    proxies = [v for v in trainer.embedder_variables if v.shape == (4, 2, 4)]
    before = [v.numpy() for v in proxies]
    batch = tf.constant(images), tf.repeat(tf.range(4), 2)
    step = tf.function(trainer.train_step)
    values = [{k: float(v) for k, v in step(batch).items()} for _ in range(5)]
    assert len(proxies) == 2  # of each scale
    for variable, value in zip(proxies, before, strict=True):
        assert np.abs(variable.numpy() - value).max() > 1e-3
    assert {"metric_loss", "cosine_loss"} <= values[0].keys()
    assert values[-1]["loss"] < values[0]["loss"]

    expected = core_of(embedder)(images)["embedding"]
    embedder.save(tmp_path / "embedder.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "embedder.keras")
    np.testing.assert_array_equal(core_of(loaded)(images)["embedding"], expected)


@pytest.mark.usefixtures("registered")
def test_they_get_float32_from_a_network_of_float64():
    trainer, _ = together(precision="float64")
    found = trainer.train_step((drawn_images(), tf.repeat(tf.range(4), 2)))
    assert np.isfinite(float(found["cosine_loss"] + found["metric_loss"]))


@pytest.mark.usefixtures("registered")
def test_the_data_set_is_read(tmp_path):
    for label in "abcdefgh":
        for number in range(2):
            Image.new("RGB", (40, 40)).save(tmp_path / f"{label}_{number}.png")
    split = read_split(DataConfig(dataset="file_names", data_dir=str(tmp_path)), 0)
    assert [e.label for e in split.train] == list("aabbccdd")
    assert [e.label for e in split.test] == list("eeffgghh")
    with pytest.raises(UsageError, match="gone does not exist"):
        read_split(DataConfig(dataset="file_names", data_dir=str(tmp_path / "gone")), 0)


@pytest.mark.usefixtures("registered")
def test_arguments_become_flags():
    for rule, expected in (
        (losses.METRIC_LOSSES["proxy_softmax"], {"scale": 16.0}),
        (decoupling.DECOUPLINGS["orthogonal"], {"margin": 0.1}),
        (layers.REGION_RULES["peak"], {"side": 0.5}),
    ):
        found = constructor_settings(rule)
        assert {s.name: s.default for s in found} == expected
        assert all(s.kind is float and not s.help.startswith("Arg") for s in found)
