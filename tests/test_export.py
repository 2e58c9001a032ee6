"""Exports as a user makes them, and what a server would do with them."""

import dataclasses
import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any, cast
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf import export
from deml_tf.bulk.served_export import ServedExport, read_export
from deml_tf.cli.flags import as_flags, define_flags, read_configs
from deml_tf.config import CONFIGS
from deml_tf.errors import UsageError
from deml_tf.models.embedder import build_deml, explainer
from deml_tf.runs.folder import RunFolder
from deml_tf.serving import proof_images, publish
from deml_tf.serving.model_card import model_card
from deml_tf.serving.source import Choice, read_source

SIZES = {"width": 0.25, "input_size": 40, "resize_size": 48, "output_stride": 16}


@pytest.fixture(scope="module")
def run(tiny_flags, small_backbone, tmp_path_factory):
    """A finished run, as far as an export looks at it."""
    values = export.flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    values(["", *tiny_flags])
    configs = read_configs(values)
    folder = RunFolder.open(
        tmp_path_factory.mktemp("runs") / "tiny", as_flags(*configs)
    )
    folder.close()
    model = configs.model
    names = (*SIZES, "backbone", "embedding_dim", "weights")
    sizes = {name: getattr(model, name) for name in names}
    build_deml(scales=2, learners=2, **sizes).save(folder.embedder_path)
    results = {
        "model": {
            "name": "DeML(2,2)",
            "backbone": f"vit:{folder.path}/preset",
            "scales": 2,
            "learners": 2,
            "gmacs": 1e3,  # made up, as the parameters are
            "parameters": 1e9,
        },
        "dataset": {"kind": "folder", "data_dir": str(configs.data.data_dir)},
    }
    results |= {"protocol": {"test_classes": 4}, "test": {"recall_at_1": 0.5}}
    folder.write_json("results.json", results)
    return folder


@pytest.fixture(scope="module")
def source(run):
    return read_source(str(run.path), None)


@pytest.fixture(scope="module")
def exported(run, command, tmp_path_factory):
    """The version folder of an export of fewer parts, and what was printed."""
    base = tmp_path_factory.mktemp("models") / "birds"
    status, output, errors = command(
        "export",
        f"--run_dir={run.path}",
        f"--output_dir={base}",
        "--learners=1",
        "--warmup_requests=1",
        "--false_accept_rate=0.2",
    )
    assert status == 0, errors
    return base / "1", output


@pytest.mark.slow
def test_a_version_folder(exported):
    folder, output = exported
    assert f"Exported to {folder}" in output and "batch 32" in output
    assert [p.name for p in folder.parent.iterdir()] == ["1"]
    about = json.loads((folder / "assets.extra" / "deml.json").read_text())
    assert (folder / "README.md").read_text() == model_card(about)
    assert (about["name"], about["version"]) == ("birds", 1)
    model = about["model"]
    assert (model["name"], model["backbone"]) == ("DeML(2,2)", "vit:preset")
    assert 0 < model["gmacs"] < 1 and 0 < model["parameters"] < 1e6  # of this part
    assert about["dataset"] == {"kind": "folder"}
    assert about["test"] == {"recall_at_1": 0.5}
    assert about["embedding"]["size"] == 16
    assert about["embedding"]["learners_kept"] == [1]
    assert set(about["signatures"]) == {
        "serving_default",
        "images",
        "images_float",
        "explain",
    }
    assert about["threshold"]["classes"] == 2 and about["threshold"]["images"] == 10
    assert 0 <= about["threshold"]["measured_false_accept_rate"] <= 0.2
    assert about["warmup"] == {"requests": 2, "images": "drawn"}
    assert about["precision"] == "float32" and len(about["weights_sha256"]) == 64
    read = read_export(folder)  # as the commands do that use an export
    assert (read.model, read.version, read.embedding_dim) == ("birds", 1, 16)
    assert (read.scales, read.threshold) == (2, about["threshold"]["cosine"])
    assert ServedExport(read)([b"none"]).embedding.shape == (1, 16)
    largest = max(v for row in about["parity"] for v in row["by_batch_size"].values())
    assert 0 < largest < 1e-5
    assert {row["run_by"] for row in about["parity"]} == {"python", "session"}
    assert {1, 3, 32} <= {
        int(size) for row in about["parity"] for size in row["by_batch_size"]
    }


@pytest.mark.slow
def test_nothing_of_the_user_is_inside(exported, source, run):
    folder, _ = exported
    content = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    paths = [source.configs.data.data_dir, run.path, folder.parent]
    paths += [Path(export.__file__).parent, Path.cwd(), Path.home()]
    for path in map(str, paths):
        assert path.encode() not in content, path
    assert proof_images.drawn_images(1)[0] in content  # so an image would be seen
    assert not any(image in content for image in source.read_images().encoded)


def test_why_there_is_no_threshold_is_printed_not_written(source, tmp_path, capsys):
    source = with_data(source, data_dir=str(tmp_path / "gone"))
    choice, unused = Choice("birds", (0,), (0,)), cast(Any, None)
    found = publish._threshold(unused, source, choice, source.read_images())
    assert found["cosine"] is None and str(tmp_path) not in json.dumps(found)
    said = capsys.readouterr().out
    assert said.startswith(
        f"No threshold: the run's data set is not at {tmp_path}/gone"
    )


@pytest.mark.slow
def test_what_a_server_does(exported, run):
    prediction_log_pb2: Any = importlib.import_module(
        "tensorflow_serving.apis.prediction_log_pb2"
    )
    folder, _ = exported
    loaded = tf.saved_model.load(str(folder))
    signatures = loaded.signatures
    for signature in signatures.values():  # the batch is dimension 0 of every output
        for output in signature.structured_outputs.values():
            assert output.shape[0] is None
    warmup = folder / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(warmup)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        batch = tf.make_ndarray(request.inputs["image_bytes"])
        found = signatures[request.model_spec.signature_name](image_bytes=batch)
        assert found["valid"].numpy().all()
        lengths = np.linalg.norm(found["embedding"], axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-5)

    good = proof_images.drawn_images(4)
    # At the same places: sums may be ordered by an image's place in the batch.
    twice = [image for image in good for _ in range(2)]
    clean = signatures["explain"](image_bytes=tf.constant(twice))
    mixed = [x for p in good for x in (p[:50], p)]
    found = signatures["explain"](image_bytes=tf.constant(mixed))
    assert found["valid"].numpy().tolist() == [False, True] * 4
    for name, value in found.items():
        np.testing.assert_array_equal(value[1::2], clean[name][1::2], name)
        assert not value[::2].numpy().any(), name

    layer = keras.layers.TFSMLayer(str(folder), call_endpoint="images_float")
    images = np.random.default_rng(0).uniform(0, 255, (2, 60, 50, 3)).astype("float32")
    embedder: Any = keras.saving.load_model(run.embedder_path)
    parts = explainer(embedder)(images)["parts"].numpy()[:, :, 1].reshape(2, -1)
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    np.testing.assert_allclose(layer(images)["embedding"], parts, atol=1e-6)


def flag_values(**values):
    names = ("scales", "learners", "output_dir", "version", "precision", "embedder")
    names += ("license", "study", "study_variant", "push_to")
    defaults = dict.fromkeys(names) | {"format": "saved_model", "warmup_requests": 0}
    defaults |= {"false_accept_rate": 0.01, "quantize": "none"}
    return types.SimpleNamespace(**defaults | values)


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({}, "either run_dir=FOLDER, or embedder"),
        ({"embedder": "x.keras"}, "either run_dir=FOLDER, or embedder"),
        ({"scales": ["2"]}, "scales=2: the embedder has 2.*from 0 to 1"),
        ({"learners": ["x"]}, "^learners=x: give whole numbers"),
        ({"learners": ["0", "0"]}, "learners=0,0: name each"),
        ({"version": 7}, "^version=7: .*7 exists.*such as 8"),
        ({"false_accept_rate": 1.0}, "^false_accept_rate=1.0"),
        ({"warmup_requests": 999}, "^warmup_requests=999"),
        ({"warmup_requests": 1, "format": "onnx"}, "^warmup_requests=1 is not for"),
        ({"push_to": "birds"}, "^push_to=birds is no repository"),
        ({"study_variant": "u512"}, "^study_variant is for --study"),
        ({"study": "none.json"}, "^study=none.json is no file"),
    ],
)
def test_mistakes(values, sentence, run, source, monkeypatch, tmp_path):
    (tmp_path / "7").mkdir()
    chosen = {"run_dir": None if not values else str(run.path)}
    flags = flag_values(output_dir=str(tmp_path), **chosen, **values)
    monkeypatch.setattr(export, "FLAGS", flags)
    if flags.run_dir and not flags.embedder:  # loaded once for all
        monkeypatch.setattr(export, "read_source", lambda *_: source)
    with pytest.raises(UsageError, match=sentence):
        export.main([])
    assert [p.name for p in tmp_path.iterdir()] == ["7"]


@pytest.mark.parametrize("output_dir", [".", "..", "../../birds", "../../birds/"])
def test_a_model_is_named_after_its_folder(output_dir, source, monkeypatch, tmp_path):
    (tmp_path / "birds" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "birds" / ("" if output_dir == "." else "in"))
    flags = flag_values(run_dir="run", output_dir=output_dir)
    monkeypatch.setattr(export, "FLAGS", flags)
    monkeypatch.setattr(export, "read_source", lambda *_: source)
    names = []
    monkeypatch.setattr(export, "publish", lambda *given: names.append(given[2].name))
    export.main([])
    assert names == ["birds"]


@pytest.mark.parametrize("form, between", [("saved_model", ()), ("onnx", ("onnx",))])
def test_what_is_pushed_is_the_version_with_license_and_study(
    form, between, source, monkeypatch, tmp_path
):
    base = tmp_path / "birds"
    base.joinpath(*between, "4").mkdir(parents=True)
    flags = flag_values(
        run_dir="run",
        output_dir=str(base),
        format=form,
        license="mit",
        study="study.json",
        study_variant="DeML",
        push_to="hf://them/birds",
    )
    monkeypatch.setattr(export, "FLAGS", flags)
    monkeypatch.setattr(export, "read_source", lambda *_: source)
    monkeypatch.setattr(export, "check_format", lambda *_: None)
    monkeypatch.setattr(export, "check_hub", lambda address: f"checked {address}")
    monkeypatch.setattr(export, "scores_over_seeds", lambda *given: given)
    published, pushed = mock.Mock(), mock.Mock(return_value="there")
    monkeypatch.setattr(export, "publish", published)
    monkeypatch.setattr(export, "push", pushed)
    export.main([])
    name, _, choice, target = published.call_args.args
    assert (name, target) == (form, base.joinpath(*between, "5"))
    assert (choice.licence, choice.over_seeds) == ("mit", ("study.json", "DeML"))
    message = "birds, version 5"
    pushed.assert_called_once_with(target, "checked hf://them/birds", message)


@pytest.mark.parametrize("form", ["saved_model", "onnx"])
def test_only_a_server_is_warmed_up(form, source, monkeypatch, tmp_path):
    """The other formats need nothing of the extra that has the messages."""
    flags = flag_values(
        run_dir="run", output_dir=str(tmp_path), format=form, warmup_requests=None
    )
    monkeypatch.setattr(export, "FLAGS", flags)
    monkeypatch.setattr(export, "read_source", lambda *_: source)
    monkeypatch.setattr(export, "check_format", lambda *_: None)
    monkeypatch.setattr(export, "publish", published := mock.Mock())
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    if form == "saved_model":
        with pytest.raises(UsageError, match=r"pip install deml_tf\[client\]"):
            export.main([])
    else:
        export.main([])
    assert published.called == (form == "onnx")


def test_unfinished_runs_and_bare_embedders(run, tmp_path):
    (tmp_path / "flags.cfg").write_bytes(run.flags_path.read_bytes())
    with pytest.raises(UsageError, match="is no finished run"):
        read_source(str(tmp_path), None)
    source = read_source(None, str(run.embedder_path))
    assert source.name == "embedder"
    with pytest.raises(UsageError, match="^precision=bfloat16 needs run_dir="):
        source.in_precision("bfloat16")
    images = source.read_images()
    assert not images.held_out and "export its run" in images.why_none
    assert images.encoded == proof_images.drawn_images(8)
    assert source.facts()["test"] is None


def with_data(source, **changes):
    """The same run, had it been trained with other settings of the data."""
    data = dataclasses.replace(source.configs.data, **changes)
    return dataclasses.replace(source, configs=source.configs._replace(data=data))


def test_images_of_the_run(source, tmp_path):
    images = source.read_images()
    assert len({e.label for e in images.held_out}) == 2 and not images.why_none
    assert len(set(images.encoded) - set(proof_images.drawn_images(8))) == 8
    gone = str(tmp_path / "gone")
    images = with_data(source, data_dir=gone).read_images()
    assert not images.held_out and gone in images.why_none
    assert images.encoded == proof_images.drawn_images(8)
    images = with_data(source, validation_classes=0.0).read_images()
    assert not images.held_out and "validation_classes" in images.why_none
