"""Whole commands, as a user types them; mistakes are typed in tests/bad_input."""

import json

import keras
import numpy as np
import pytest

import deml_tf
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.runs.folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(command, tiny_flags, tmp_path_factory):
    """A finished run and what the training printed."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    status, output, errors = command("train", *tiny_flags, f"--run_dir={path}")
    assert status == 0, errors
    return RunFolder(path), output


def test_train_leaves_a_whole_run(run):
    folder, output = run
    assert "train: 2 classes, 10 images" in output
    assert "validation: 2 classes, 10 images" in output
    assert "test: 4 classes, 20 images" in output
    assert str(folder.report_path) in output
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
    assert results["train"]["steps"] == 8 and results["train"]["best_step"] in (4, 8)
    assert results["train"]["images_per_second"] > 0
    assert np.shape(results["object_attention"]["mean_box"]) == (2, 4)
    assert 0 <= results["object_attention"]["fallback_share"] <= 1
    assert [row["scale"] for row in results["per_scale"]] == [1, 2]
    assert results["seed"] == 0
    steps = [r["step"] for r in folder.metrics() if "metric_loss" in r]
    assert steps == [2, 4, 6, 8]
    scored = [r["step"] for r in folder.metrics() if "validation_map_at_r" in r]
    assert scored == [4, 8]
    assert list(folder.tensorboard_path.iterdir())
    page = folder.report_path.read_text()
    assert "data:image" in page and "http://" not in page.replace(
        "http://www.w3.org", ""
    )


def test_embedder_loads_and_scores_the_same(run, command, painted):
    folder, _ = run
    loaded = keras.saving.load_model(folder.embedder_path)
    assert loaded(np.zeros((2, 50, 60, 3), "float32")).shape == (2, 32)
    assert deml_tf.explainer(loaded).output["boxes"].shape == (None, 2, 4)
    expected = folder.read_json("results.json")["test"]

    status, output, errors = command("evaluate", f"--run_dir={folder.path}")
    assert status == 0, errors
    assert "Hardest classes" in output
    scores = folder.read_json("scores_test.json")
    assert scores["joined"] == pytest.approx(expected, abs=1e-9)
    assert len(scores["classes"]) == 4

    target = folder.path / "elsewhere.json"
    status, _, errors = command(
        "evaluate",
        f"--embedder={folder.embedder_path}",
        "--dataset=folder",
        f"--data_dir={painted}",
        f"--output={target}",
    )
    assert status == 0, errors
    scores = json.loads(target.read_text())
    assert scores["joined"] == pytest.approx(expected, abs=1e-9)


def test_best_weights_are_the_ones_saved(run, small_backbone):
    folder, _ = run
    loaded = keras.saving.load_model(folder.embedder_path)
    flags = folder.flags()
    again = build_deml(
        backbone=small_backbone,
        weights="none",
        width=0.25,
        input_size=32,
        resize_size=40,
        output_stride=16,
        scales=int(flags["scales"]),
        learners=int(flags["learners"]),
        embedding_dim=32,
    )
    core_of(again).load_weights(folder.path / "best.weights.h5")
    for a, b in zip(again.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_finished_run_says_so_and_other_flags_are_refused(run, command, tiny_flags):
    folder, _ = run
    before = folder.results_path.read_bytes()
    where = f"--run_dir={folder.path}"
    status, output, _ = command("train", *tiny_flags, where)
    assert status == 0 and "is finished" in output
    status, _, errors = command(
        "train", *tiny_flags, where, "--binomial_deviance_alpha=3"
    )
    assert status == 2 and "binomial_deviance_alpha: (unset) -> 3.0" in errors
    assert "Traceback" not in errors
    assert folder.results_path.read_bytes() == before


def test_compare(run, command):
    folder, _ = run
    page = folder.path / "comparison.html"
    status, output, errors = command("compare", folder.path, f"--output={page}")
    assert status == 0, errors
    assert "frozen start" in output and folder.path.name in output
    assert folder.path.name in page.read_text()
