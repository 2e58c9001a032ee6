"""A run that crops its images is the run on images that were cropped before."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from deml_tf.runs.folder import RunFolder

CONTROLS = (
    "--region_rule=random",
    "--nochannel_attention",
    "--noshared_projection",
    "--steps=4",
    "--evaluate_every=2",
)


@pytest.fixture(scope="module")
def sets(painted, tmp_path_factory):
    """A list of images with a box each, and the folder of the crops."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("boxed")
    rows = ["path,label,x,y,w,h"]
    for path in sorted(Path(painted).rglob("*.png")):
        x, y, w, h = (int(n) for n in random.integers((0, 0, 20, 20), (26, 26, 30, 30)))
        rows.append(f"{path},{path.parent.name},{x},{y},{w},{h}")
        target = folder / "crops" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.crop((x, y, x + w, y + h)).save(target)
    (folder / "list.csv").write_text("\n".join(rows))
    return folder / "list.csv", folder / "crops"


@pytest.mark.slow
def test_it_equals_a_run_on_crops(sets, command, tiny_flags, tmp_path):
    runs = {}
    for name, own in (
        ("listed", ["--dataset=list", f"--data_dir={sets[0]}", "--crop_to_box"]),
        ("crops", [f"--data_dir={sets[1]}"]),
    ):
        runs[name] = RunFolder(tmp_path / name)
        flags = [*tiny_flags, *CONTROLS, *own, f"--run_dir={runs[name].path}"]
        status, _, errors = command("train", *flags)
        assert status == 0, errors
    found, wanted = (run.read_json("results.json") for run in runs.values())
    for name in ("frozen", "test", "per_scale", "model"):
        assert found[name] == wanted[name]
    boxes = found["object_attention"]
    assert boxes["mean_box"] == wanted["object_attention"]["mean_box"]
    # The first scale sees the middle 32 of 40 pixels of each crop.
    assert boxes["iou"][0] == pytest.approx(0.64)
    assert wanted["object_attention"]["iou"] is None
    models: Any = [keras.saving.load_model(r.embedder_path) for r in runs.values()]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)

    scores = tmp_path / "scores.json"
    run = runs["listed"]
    status, _, errors = command(
        "evaluate", f"--run_dir={run.path}", f"--output={scores}"
    )
    assert status == 0, errors
    keras_path = f"--embedder={run.embedder_path}"
    again = tmp_path / "again.json"
    listed = ["--dataset=list", f"--data_dir={sets[0]}", f"--output={again}"]
    for extra, same in (["--crop_to_box"], True), ([], False):
        status, _, errors = command("evaluate", keras_path, *listed, *extra)
        assert status == 0, errors
        assert (again.read_text() == scores.read_text()) == same
