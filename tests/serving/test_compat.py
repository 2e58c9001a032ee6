"""Exports under a TensorFlow older than the one that wrote them: see `make compat`."""

import os
import subprocess
from pathlib import Path

import pytest

from deml_tf.cli.command import console
from deml_tf.models.embedder import core_of, scales_and_learners
from deml_tf.serving import differences, proof_images
from deml_tf.serving.expected import Trained
from deml_tf.serving.parity import hold_to_parity
from deml_tf.serving.servable import Servable
from deml_tf.serving.source import read_source
from deml_tf.serving.trial import trial_of_encoded

ROOT = Path(__file__).resolve().parent.parent.parent
OLD = ROOT / ".venv-compat" / "bin" / "python"
BOUND = 1e-4
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not OLD.exists(), reason="no .venv-compat: make compat"),
]


def prove(title, embedder, folder, capsys):
    """Every signature by both loaders, in batches of 1, 3 and 32."""
    kept = [tuple(range(count)) for count in scales_and_learners(core_of(embedder))]
    Servable(embedder, *kept).save(folder)
    images = proof_images.proof_images(proof_images.drawn_images(2))
    trial = trial_of_encoded(Trained(embedder, *kept), images)
    measured = hold_to_parity(
        folder, ["python", "session"], trial, BOUND, python=str(OLD)
    )
    table = differences.parity_table(measured)
    table.title = f"{title} in TensorFlow 2.15.1: largest absolute difference"
    with capsys.disabled():
        print()
        console().print(table)
    differences.require(measured)


def test_a_small_one(tiny, tmp_path, capsys):
    asked = "import importlib.metadata as m; print(m.version('tensorflow-cpu'))"
    found = subprocess.run([OLD, "-I", "-c", asked], capture_output=True, text=True)
    assert found.stdout.strip() == "2.15.1"
    embedder = tiny(backbone="efficientnet_lite0", scales=2, learners=2, fit="pad")
    prove("DeML(2,2)", embedder, tmp_path, capsys)


@pytest.mark.skipif(not os.environ.get("COMPAT_RUN"), reason="make compat RUN=runs/x")
def test_a_run(tmp_path, capsys):
    source = read_source(os.environ["COMPAT_RUN"], None)
    prove(source.name, source.embedder, tmp_path, capsys)
