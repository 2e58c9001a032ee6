"""The pipeline of all formats: what it publishes, and what it refuses."""

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from small_backbone import ARCHITECTURE, BACKBONES, NAME, TINY

from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.errors import DataError, UsageError
from deml_tf.models.parts import precision_of
from deml_tf.serving import encoded_images, extras, metadata, onnx_format, parity
from deml_tf.serving.formats import FORMATS, check_format
from deml_tf.serving.publish import publish
from deml_tf.serving.servable import Servable
from deml_tf.serving.source import Choice, Source
from deml_tf.studies.intervals import Estimate

UPPER = "scale1_upper"  # backbone of the first scale, behind the cut
CHOICE = Choice("birds", (0,), (0,))


@pytest.fixture(scope="module")
def source(tiny):
    return Source("birds", tiny(scales=1, learners=1))


@pytest.mark.slow
def test_a_file_and_its_description(source, tmp_path, capsys):
    target = tmp_path / "birds" / "onnx" / "1"
    publish("onnx", source, CHOICE, target)
    assert "images_float" in capsys.readouterr().out
    files = ["README.md", "deml.json", "model.onnx"]
    assert sorted(f.name for f in target.iterdir()) == files
    assert "ONNX Runtime" in (target / "README.md").read_text()
    described = json.loads((target / "deml.json").read_text())
    assert described["name"] == "birds" and described["format"] == "onnx"
    assert described["runtime"]["onnxruntime"]
    size = (target / "model.onnx").stat().st_size
    assert described["file_bytes"] == {"model.onnx": size}
    assert described["signatures"]["images_float"]["inputs"] == {
        "images": {"dtype": "float32", "shape": [None, 48, 48, 3]}
    }
    assert described["preprocessing"]["resize_size"] == 48
    assert described["threshold"]["cosine"] is None
    assert "no images" in described["threshold"]["reason"]
    (embedding,) = (p for p in described["parity"] if p["output"] == "embedding")
    assert embedding["run_by"] == "onnxruntime"
    assert all(0 <= d < 1e-5 for d in embedding["by_batch_size"].values())


@pytest.fixture
def written(monkeypatch):
    """What is published as a SavedModel, of which no file is written or run."""
    servables = []

    def write(servable, folder, choice):
        servables.append(servable)
        return {}

    form = dataclasses.replace(FORMATS["saved_model"], write=write)
    monkeypatch.setitem(FORMATS, "saved_model", form)
    monkeypatch.setattr("deml_tf.serving.publish._prove", lambda *given: (None, []))
    monkeypatch.setattr(metadata, "describe_signatures", lambda servable: {})
    return servables


def test_another_precision_than_the_trained_one(source, written, monkeypatch, tmp_path):
    """What is written is the embedder in that precision, and the cost is told."""
    lost = {"largest_difference": 0.25, "smallest_cosine": 0.75}
    compare = mock.Mock(return_value=lost)
    monkeypatch.setattr(parity, "precision_difference", compare)
    monkeypatch.setattr(
        "deml_tf.serving.publish.Trained", lambda embedder, *kept: embedder
    )
    monkeypatch.setitem(BACKBONES, NAME, ARCHITECTURE)
    model = ModelConfig(**TINY, scales=1, learners=1)
    others = LossConfig(), TrainConfig(), ScoreConfig()
    configs = Configs(DataConfig(dataset="folder"), model, *others)
    source = dataclasses.replace(source, configs=configs)
    choice = dataclasses.replace(CHOICE, precision="bfloat16")
    publish("saved_model", source, choice, tmp_path / "1")
    text = (tmp_path / "1" / "assets.extra" / "deml.json").read_text()
    described = json.loads(text)
    assert described["precision"] == "bfloat16"
    assert described["difference_from_trained_precision"] == lost
    trained, served, _, named = compare.call_args.args
    assert trained is source.embedder and precision_of(served) == named == "bfloat16"
    (servable,) = written
    types = {layer.compute_dtype for layer in servable.core.get_layer(UPPER).layers}
    assert "bfloat16" in types


@pytest.mark.usefixtures("written")
def test_license_and_study_are_on_the_card(source, monkeypatch, tmp_path):
    scored = {"test": {"recall_at_1": 0.5}}
    monkeypatch.setattr(Source, "facts", lambda self: scored)
    over_seeds = {"recall_at_1": Estimate(3, 0.625, 0.05, 0.5, 0.75)}
    choice = dataclasses.replace(CHOICE, licence="mit", over_seeds=over_seeds)
    publish("saved_model", source, choice, tmp_path / "1")
    card = (tmp_path / "1" / "README.md").read_text()
    assert 'license: "mit"' in card
    assert "| Recall@1 | 0.500 | 0.625, 0.500 to 0.750 (3 seeds) |" in card


def perturbed(write):
    """Writes an export whose first kernel is one percent off where it is positive.

    Off everywhere, it would leave embeddings of length 1 as they are.
    """

    def wrong(servable, *arguments):
        kernel = next(v for v in servable.kept_variables() if v.shape.rank == 4)
        kept = kernel.numpy()
        kernel.assign(np.where(kept > 0, 1.01, 1.0) * kept)
        try:
            write(servable, *arguments)
        finally:
            kernel.assign(kept)

    return wrong


def test_a_file_that_differs_is_not_published(source, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_format, "write_onnx", perturbed(onnx_format.write_onnx))
    named = r"signature images_float, onnxruntime loader, batch size \d+, output emb"
    with pytest.raises(DataError, match=f"nothing was published: {named}"):
        publish("onnx", source, CHOICE, tmp_path / "birds" / "onnx" / "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [pytest.param("weights", marks=pytest.mark.long), "rotation"]
)
def test_what_differs_is_not_published(fault, source, monkeypatch, tmp_path):
    if fault == "weights":
        monkeypatch.setattr(Servable, "save", perturbed(Servable.save))
        named = r"signature [\w ]+, (python|session) loader, batch size \d+, output"
    else:
        monkeypatch.setattr(
            encoded_images,
            "decode_bytes",
            lambda e: tf.io.decode_image(e, 3, expand_animations=False),
        )
        named = r"signature (serving_default|explain)\b.*, output \w+ by 0\.\d"
    with pytest.raises(DataError, match=f"nothing was published: {named}"):
        publish("saved_model", source, CHOICE, tmp_path / "models" / "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("onnx", None, "dynamic_int8"), "^quantize=dynamic_int8 is for format=litert"),
        (("saved_model", None, "dynamic_int8"), "^quantize=dynamic_int8 .*saved_model"),
        (("litert", "bfloat16", "none"), "^precision=bfloat16: format=litert"),
        (("onnx", "bfloat16", "none"), "^precision=bfloat16: format=onnx"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        check_format(*arguments)


def test_missing_extra(monkeypatch):
    for arguments in (("litert", "float32", "dynamic_int8"), ("onnx", None, "none")):
        check_format(*arguments)
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    check_format("saved_model", "bfloat16", "none")
    with pytest.raises(UsageError, match=r"format=onnx .*'deml_tf\[onnx\]'"):
        check_format("onnx", None, "none")
