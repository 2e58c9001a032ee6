"""Whole commands, as a user types them; mistakes are typed in tests/bad_input."""

import json
import os
import shutil
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from forks import ROOT, Fork
from PIL import Image

import deml_tf
from deml_tf.compare import finished_runs
from deml_tf.models.embedder import core_of
from deml_tf.runs.folder import RunFolder

pytestmark = pytest.mark.slow


ODD = {
    "class 05": "class 05\n\x1b[31m",
    "class 06": "class 06 [red]",
    "class 07": os.fsdecode(b"class 07 \xe9"),
}


@pytest.fixture(scope="module")
def odd(painted, tmp_path_factory):
    """The images in folders whose names are markup, escapes, and no UTF-8."""
    folder = tmp_path_factory.mktemp("data") / os.fsdecode(b"caf\xe9")
    shutil.copytree(painted, folder)
    for name, other in ODD.items():
        (folder / name).rename(folder / other)
    return folder


@pytest.fixture(scope="module")
def bare():
    """Runs a command where there is no home folder, and only ASCII is printed."""
    unset = ("HOME", "XDG_CACHE_HOME", "DEML_TF_CACHE")
    environment = {n: v for n, v in os.environ.items() if n not in unset}

    def run(module, *flags):
        from small_backbone import run_in_ascii

        process = Fork(
            run_in_ascii,
            f"deml_tf.{module}",
            *map(str, flags),
            environment=environment | {"LC_ALL": "C", "PYTHONPATH": str(ROOT)},
        )
        output, errors = process.communicate()
        return process.returncode, output, errors

    return run


@pytest.fixture(scope="module")
def run(bare, odd, tiny_flags, tmp_path_factory):
    """A finished run and what the training printed."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    where = [f"--data_dir={odd}", f"--run_dir={path}"]
    status, output, errors = bare("train", *tiny_flags, *where)
    assert status == 0, errors
    return RunFolder(path), output


def test_names_are_text_wherever_they_leave(run, odd):
    folder, output = run
    assert odd.name not in output
    page = folder.report_path.read_text(encoding="utf-8")
    assert "class 05\\n\\x1b[31m" in page and "class 07 \\xe9" in page
    assert folder.read_json("results.json")["dataset"]["data_dir"].endswith("caf\\xe9")
    assert folder.flags()["data_dir"] == str(odd)


def test_train_leaves_a_whole_run(run):
    folder, output = run
    assert "train: 2 classes, 10 images" in output
    assert "validation: 2 classes, 10 images" in output
    assert "test: 4 classes, 20 images" in output
    assert str(folder.report_path) in output
    assert "collapsed" not in output
    results = folder.read_json("results.json")
    scores = {f"recall_at_{k}" for k in (1, 2, 4, 8)} | {
        "r_precision",
        "map_at_r",
        "nmi",
    }
    assert scores <= results["frozen"].keys() & results["test"].keys()
    assert results["protocol"]["test_classes"] == 4
    assert results["model"].items() >= {"scales": 2, "learners": 2}.items()
    assert results["model"]["embedding_dim"] == 32
    assert results["model"]["parameters"] > 0 and results["model"]["gmacs"] > 0
    assert results["train"]["steps"] == 8
    assert results["train"]["images_per_second"] > 0
    assert np.shape(results["object_attention"]["mean_box"]) == (2, 4)
    assert [row["scale"] for row in results["per_scale"]] == [1, 2]
    assert np.shape(results["learners"]["recall_at_1"]) == (2, 2)
    assert np.shape(results["learners"]["cosine"]) == (2,)
    assert results["embedding"]["effective_rank"] > 0
    assert results["seed"] == 0
    steps = [r["step"] for r in folder.metrics() if "metric_loss" in r]
    assert steps == [2, 4, 6, 8]
    name = "validation_map_at_r"
    scored = {r["step"]: r[name] for r in folder.metrics() if name in r}
    assert [*scored] == [4, 8]
    assert results["train"]["best_step"] == max(scored, key=lambda step: scored[step])
    shown = {
        value.tag
        for path in folder.tensorboard_path.iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {"metric_loss", "validation_map_at_r", "boxes/0", "retrieval"} <= shown
    page = folder.report_path.read_text()
    assert "data:image" in page and "http://" not in page.replace(
        "http://www.w3.org", ""
    )


def test_embedder_loads_and_scores_the_same(run, bare, odd):
    folder, _ = run
    loaded: Any = keras.saving.load_model(folder.embedder_path)
    assert loaded(np.zeros((2, 50, 60, 3), "float32")).shape == (2, 32)
    explainer: Any = deml_tf.explainer(loaded)
    assert explainer.output["boxes"].shape == (None, 2, 4)
    results = folder.read_json("results.json")
    expected = results["test"]
    unseen = [Image.open(path) for path in sorted(odd.glob("class 0[4-7]*/*.png"))]
    fallback = explainer(np.stack([np.asarray(image) for image in unseen]))["fallback"]
    share = np.mean(fallback[:, 0])  # there is no scale after the last
    assert results["object_attention"]["fallback_share"] == pytest.approx(share)

    status, output, errors = bare("evaluate", f"--run_dir={folder.path}")
    assert status == 0, errors
    assert "Hardest classes" in output
    for name in ("class 05\\n\\x1b[31m", "class 06 [red]", "class 07 \\xe9"):
        assert f"|{name} " in output
    scores = folder.read_json("scores_test.json")
    assert scores["joined"] == pytest.approx(expected, abs=1e-9)
    assert len(scores["classes"]) == 4

    target = folder.path / "elsewhere.json"
    status, _, errors = bare(
        "evaluate",
        f"--embedder={folder.embedder_path}",
        "--dataset=folder",
        f"--data_dir={odd}",
        f"--output={target}",
        f"--projector={folder.path / 'projector'}",
    )
    assert status == 0, errors
    assert "<svg" in (folder.path / "projector" / "map.html").read_text()
    scores = json.loads(target.read_text())
    assert scores["joined"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "layout",
    [
        "shifted",
        "empty",
        pytest.param("cluttered", marks=pytest.mark.long),
        pytest.param("several", marks=pytest.mark.long),
    ],
)
def test_images_are_scored_in_other_layouts(run, command, layout):
    folder, _ = run
    flags = (f"--run_dir={folder.path}", f"--layout={layout}")
    status, output, errors = command("evaluate", *flags)
    assert status == 0, errors
    assert "Where each scale looks" in output
    scores = folder.read_json(f"scores_test_{layout}.json")
    assert scores["layout"] == layout
    assert np.shape(scores["object_attention"]["entropy"]) == (2,)
    if layout == "empty":
        what = {"embedder", "dataset", "data_dir", "split", "layout"}
        assert scores.keys() == what | {"object_attention"}
    else:
        expected = folder.read_json("results.json")["test"]
        assert scores["joined"].keys() == expected.keys()
        assert scores["joined"] != expected


def test_attributes_of_plumage_are_probed(run, command, tmp_path):
    folder, _ = run
    status, output, errors = command(
        "evaluate",
        f"--embedder={folder.embedder_path}",
        "--dataset=plumage",
        f"--data_dir={tmp_path / 'birds'}",
        "--plumage_species=16",
        "--plumage_images=3",
        "--probe_attributes",
        f"--output={tmp_path / 'scores.json'}",
    )
    assert status == 0, errors
    assert "Unseen classes: attributes" in output and "breast pattern" in output
    attributes = json.loads((tmp_path / "scores.json").read_text())["attributes"]
    assert {"crown", "wing_bars", "crest", "tail_length"} <= attributes.keys()
    assert np.shape(attributes["crown"]["parts"]) == (2, 2)
    assert 0 < attributes["crown"]["chance"] < 0.5


def test_best_weights_are_the_ones_saved(run):
    folder, _ = run
    saved: Any = keras.saving.load_model(folder.embedder_path)
    newest = tf.train.latest_checkpoint(folder.checkpoints_path)
    reader = tf.train.load_checkpoint(newest)
    for number, value in enumerate(core_of(saved).get_weights()):
        name = f"kept/weights/{number}/.ATTRIBUTES/VARIABLE_VALUE"
        np.testing.assert_array_equal(reader.get_tensor(name), value)
    assert reader.get_tensor("kept/scored_step/.ATTRIBUTES/VARIABLE_VALUE") == 8


def test_finished_run_says_so_and_other_flags_are_refused(
    run, command, odd, tiny_flags
):
    folder, _ = run
    tiny_flags = [*tiny_flags, f"--data_dir={odd}"]
    before = folder.results_path.read_bytes()
    where = f"--run_dir={folder.path}"
    status, output, _ = command("train", *tiny_flags, where)
    assert status == 0 and "is finished" in output
    status, _, errors = command(
        "train", *tiny_flags, where, "--binomial_deviance_alpha=3"
    )
    assert status == 2 and "binomial_deviance_alpha: 2.0 -> 3.0" in errors
    assert "Traceback" not in errors
    assert folder.results_path.read_bytes() == before


def test_a_run_is_named_after_its_folder(tmp_path, monkeypatch):
    run = tmp_path / "mine"
    run.mkdir()
    (run / "results.json").write_text("{}")
    monkeypatch.chdir(run)
    assert [*finished_runs(["."])] == ["mine"]


def test_compare(run, command):
    folder, _ = run
    page = folder.path / "comparison.html"
    status, output, errors = command("compare", folder.path, f"--output={page}")
    assert status == 0, errors
    assert "frozen start" in output and folder.path.name in output
    assert folder.path.name in page.read_text()
