"""One table of what every way out of the project moves the numbers by.

python -m pytest -s tests/serving/test_parity_table.py
"""

from typing import Any

import keras
import numpy as np
import pytest
from rich.table import Table

from deml_tf.cli.command import console
from deml_tf.models.embedder import explainer
from deml_tf.serving import differences, proof_images, trial
from deml_tf.serving.expected import Trained
from deml_tf.serving.formats import FORMATS
from deml_tf.serving.fresh_process import RUNTIMES
from deml_tf.serving.parity import BOUNDS, hold_to_parity
from deml_tf.serving.servable import Servable
from deml_tf.serving.source import Choice

MODELS = {
    "DeML(1,2)": {"scales": 1, "learners": 2},
    "DeML(2,2)": {"scales": 2, "learners": 2},
    "DeML(3,3)": {"scales": 3, "learners": 3},
}
PRECISIONS = ("float32", "bfloat16")
NUMBERS = 16  # of each part


class Leaving:
    """An embedder that leaves, and all that it is compared by."""

    def __init__(self, embedder, trained, folder, counts, precision):
        self.embedder, self.folder, self.precision = embedder, folder, precision
        self.kept: Any = tuple(tuple(range(n)) for n in counts.values())
        self.trained = trained(embedder, *self.kept)
        self.bound = BOUNDS[precision]
        self.encoded = proof_images.proof_images(proof_images.drawn_images(2))
        random = np.random.default_rng(0)
        self.images = random.uniform(0, 255, (3, 60, 75, 3)).astype(np.float32)
        self.moved = self.trained.sensitivity(self.images)

    def as_keras_file(self):
        path = self.folder / "embedder.keras"
        self.embedder.save(path)
        loaded: Any = keras.saving.load_model(path)
        # Called as the one that it is compared with: in a graph, on images of any size.
        found = Trained(loaded, *self.kept).of_pixels(self.images)
        output: Any = explainer(loaded).output
        assert found.keys() == output.keys()
        return self.compare("", self.trained.of_pixels(self.images), found, self.moved)

    def as_saved_model(self):
        folder = self.folder / "saved_model"
        Servable(self.embedder, *self.kept).save(folder)
        # Of all outputs; the export's own gate runs the other signatures.
        tried = trial.trial_of_encoded(self.trained, self.encoded)
        expected, moved = tried.expected["explain"], tried.sensitivity["explain"]
        found = {"keras.layers.TFSMLayer": self.as_layer(folder)}
        for loader in ("python", "session"):
            outputs = RUNTIMES[loader](str(folder))(
                "explain", np.array(self.encoded, object)
            )
            assert outputs.keys() == expected.keys()
            found[loader] = self.compare(loader, expected, outputs, moved)
        return found

    def as_file(self, name):
        form = FORMATS[name]
        if self.precision not in form.precisions:
            return {}
        choice = Choice("tiny", *self.kept)
        folder = self.folder / name
        folder.mkdir()
        servable = form.servable(self.embedder, *self.kept)
        form.write(servable, folder, choice)
        squares = form.trial(self.trained, self.encoded)
        (runtime,) = form.runtimes
        return {
            runtime: hold_to_parity(folder / form.file, [runtime], squares, self.bound)
        }

    def as_layer(self, folder):
        layer = keras.layers.TFSMLayer(str(folder), call_endpoint="images_float")
        found = {name: value.numpy() for name, value in layer(self.images).items()}
        assert found.pop("valid").all()
        expected = self.trained.of_pixels(self.images)
        expected = {name: expected[name] for name in found}
        return self.compare("layer", expected, found, self.moved)

    def compare(self, runtime, expected, found, moved):
        return differences.compare(runtime, "", expected, found, self.bound, moved)


LARGE = ("DeML(2,2)", "DeML(3,3)")
EVERY = [(model, precision) for model in LARGE for precision in PRECISIONS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "backbone"),
    [
        ([("DeML(2,2)", "float32"), ("DeML(1,2)", "bfloat16")], "small"),
        pytest.param(EVERY, "efficientnet_lite0", marks=pytest.mark.long),
    ],
    ids=["two columns", "four columns"],
)
def test_parity_table(columns, backbone, tiny, trained, tmp_path, capsys):
    found = {}
    for model, precision in columns:
        folder = tmp_path / model / precision
        folder.mkdir(parents=True)
        counts = MODELS[model]
        # TINY's parts have two numbers: pixels moved by a thousandth of a grey level
        # move them by .015 in bfloat16, more than the bound allows an export.
        dim = NUMBERS * counts["scales"] * counts["learners"]
        embedder = tiny(
            **counts, embedding_dim=dim, precision=precision, backbone=backbone
        )
        leaving = Leaving(embedder, trained, folder, counts, precision)
        found[".keras", model, precision] = leaving.as_keras_file()
        ways = leaving.as_saved_model()
        ways |= leaving.as_file("litert") | leaving.as_file("onnx")
        for way, measured in ways.items():
            found[way, model, precision] = measured
    table = Table(
        "left the project as",
        *(f"{model}, {precision}" for model, precision in columns),
        title="Largest absolute difference from the trained embedder",
    )
    ways = dict.fromkeys(way for way, *_ in found)
    for way in ways:
        cells = (found.get((way, *column)) for column in columns)
        table.add_row(
            way, *(f"{max(d.largest for d in c):.1e}" if c else "" for c in cells)
        )
    with capsys.disabled():
        print()
        console().print(table)
    assert list(ways) == [
        ".keras",
        "keras.layers.TFSMLayer",
        "python",
        "session",
        "LiteRT",
        "onnxruntime",
    ]
    assert all(found.values())
    for measured in found.values():
        differences.require(measured)
