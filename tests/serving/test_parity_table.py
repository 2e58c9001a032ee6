"""One table of what every way out of the project moves the numbers by.

python -m pytest -s tests/serving/test_parity_table.py
"""

import importlib.util

import keras
import numpy as np
import pytest
from rich.table import Table

from deml_tf.cli.command import console
from deml_tf.models.embedder import explainer
from deml_tf.serving import (
    file_parity,
    litert_format,
    onnx_format,
    parity,
    proof_images,
)
from deml_tf.serving.expected import Trained
from deml_tf.serving.fresh_process import LOADERS
from deml_tf.serving.servable import Servable
from deml_tf.serving.square_servable import SquareServable

MODELS = {
    "DeML(2,2)": {"scales": 2, "learners": 2},
    "DeML(3,3)": {"scales": 3, "learners": 3},
}
PRECISIONS = ("float32", "bfloat16")


class Exported:
    """An embedder, its exports in a folder, and images with what it says of them."""

    def __init__(self, embedder, folder, counts, precision):
        self.embedder, self.folder, self.precision = embedder, folder, precision
        self.kept = {name: range(counts[name]) for name in ("scales", "learners")}
        self.encoded = proof_images.proof_images(proof_images.drawn_images(2))
        self.trained = Trained(embedder, **self.kept)
        random = np.random.default_rng(0)
        self.images = random.uniform(0, 255, (3, 60, 75, 3)).astype(np.float32)
        self.of_images = self.trained.of_pixels(self.images)
        Servable(embedder, **self.kept).save(folder / "saved")

    def compare(self, expected, found):
        bound = parity.BOUNDS[self.precision]
        return parity.compare("", "", expected, found, bound)


def keras_file(exported):
    path = exported.folder / "embedder.keras"
    exported.embedder.save(path)
    loaded = keras.saving.load_model(path)
    # Called as the one that it is compared with: in a graph, on images of any size.
    found = Trained(loaded, **exported.kept).of_pixels(exported.images)
    assert found.keys() == explainer(loaded).output.keys()
    return exported.compare(exported.of_images, found)


def saved_model(loader):
    def run(exported):
        rows = exported.trained.of_files(exported.encoded)
        good = [n for n, row in enumerate(rows) if row is not None]
        expected = {k: np.stack([rows[n][k] for n in good]) for k in rows[good[0]]}
        call = LOADERS[loader](str(exported.folder / "saved"))
        # Of all outputs; the export's own gate runs the other signatures.
        found = call("explain", np.array(exported.encoded, object))
        assert np.flatnonzero(found.pop("valid")).tolist() == good
        assert found.keys() == expected.keys()
        return exported.compare(expected, {k: v[good] for k, v in found.items()})

    return run


def tfsm_layer(exported):
    path = str(exported.folder / "saved")
    layer = keras.layers.TFSMLayer(path, call_endpoint="images_float")
    found = {name: value.numpy() for name, value in layer(exported.images).items()}
    return exported.compare({name: exported.of_images[name] for name in found}, found)


def one_file(form, package, write, name):
    def run(exported):
        if exported.precision != "float32" or not importlib.util.find_spec(package):
            return []  # these files are of float32 alone
        servable = SquareServable(exported.embedder, **exported.kept)
        path = exported.folder / name
        write(servable, path)
        squares = file_parity.proof_squares(exported.encoded, servable)
        return file_parity.hold_file_to_parity(
            form, path, exported.embedder, squares, **exported.kept
        )

    return run


WAYS = {
    ".keras": keras_file,
    "SavedModel, tf.saved_model.load": saved_model("python"),
    "SavedModel, session": saved_model("session"),
    "keras.layers.TFSMLayer": tfsm_layer,
    "LiteRT": one_file(
        "litert",
        "ai_edge_litert",
        lambda servable, path: litert_format.write_litert(servable, path.parent),
        litert_format.FILE,
    ),
    "onnxruntime": one_file(
        "onnx", "tf2onnx", onnx_format.write_onnx, onnx_format.FILE
    ),
}


@pytest.mark.slow
def test_parity_table(tiny, tmp_path, capsys):
    found = {}
    for model, counts in MODELS.items():
        for precision in PRECISIONS:
            folder = tmp_path / model / precision
            folder.mkdir(parents=True)
            embedder = tiny(**counts, precision=precision)
            exported = Exported(embedder, folder, counts, precision)
            for way, run in WAYS.items():
                found[way, model, precision] = run(exported)
    columns = [(model, precision) for model in MODELS for precision in PRECISIONS]
    table = Table(
        "left the project as",
        *(f"{model}, {precision}" for model, precision in columns),
        title="Largest absolute difference from the trained embedder",
    )
    for way in WAYS:
        cells = (found[way, *column] for column in columns)
        table.add_row(
            way, *(f"{max(d.largest for d in c):.1e}" if c else "" for c in cells)
        )
    with capsys.disabled():
        print()
        console().print(table)
    for differences in found.values():
        parity.require(differences)
    assert all(found[".keras", *column] for column in columns)
