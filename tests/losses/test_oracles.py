"""Our losses against those of other projects, on batches that both are given.

`make oracles` makes the environments and runs this. Of more use when a formula is in
doubt than every day, hence long.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.losses import METRIC_LOSSES

HERE = Path(__file__).resolve().parent / "oracles"
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))  # its files are run by themselves elsewhere
import oracle_batches as batches  # noqa: E402  # pyright: ignore[reportMissingImports]
import oracle_cases as cases  # noqa: E402  # pyright: ignore[reportMissingImports]

pytestmark = pytest.mark.long
COUNT = 200
BOUND = 2e-4  # of float32 against float32
PARTS = ("value", "embeddings", "weights")
PEERS = {
    "addons": (cases.ADDONS, ".venv-addons", "addons.py"),
    "torch": (cases.TORCH, ".venv-torch", "pml.py"),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    path = tmp_path_factory.mktemp("oracles") / "batches.npz"
    batches.write(path, COUNT)
    return path


@pytest.fixture(scope="module", params=PEERS)
def peer(request, given):
    """A peer's cases, and its values and gradients."""
    table, folder, script = PEERS[request.param]
    python = ROOT / folder / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no {folder}: make oracles")
    path = given.with_name(f"{request.param}.npz")
    command = [str(python), str(HERE / script), str(given), str(path)]
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, check=True, env=environment, timeout=3600)
    with np.load(path) as stored:
        return table, dict(stored)


def ours(loss, arguments, kind, batch):
    """Value and gradients, as the peers' runners give them."""
    weight = cases.weight_of(loss, arguments)
    if weight:
        arguments = {"num_classes": cases.CLASSES, **arguments}
    layer: Any = METRIC_LOSSES[loss](**arguments)
    labels, x = tf.constant(batch["labels"]), tf.constant(batch["embeddings"])
    if weight:
        layer.build((None,), (None, cases.DIMENSIONS))
        layer.class_weights.assign(batch[weight][None])
    watched = [x, *(v.value for v in layer.trainable_variables)] if weight else [x]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        if kind == cases.HALVES:
            others = (labels[1::2], x[1::2])
            values = layer.call(labels[::2], x[::2], references=others)
        else:
            values = layer.call(labels, x)
        value = tf.reduce_mean(values)
    gradients: Any = tape.gradient(value, watched)
    return [np.array(v) for v in (value, *gradients)]


def difference(found, wanted):
    """The largest, beside the largest value, or beside a small one."""
    return np.max(np.abs(found - wanted)) / max(np.max(np.abs(wanted)), 1e-2)


def test_values_and_gradients_are_theirs(peer, given):
    table, results = peer
    read = batches.read(given)
    worst = {}
    for name, (loss, arguments, kind) in table.items():
        tried = [n for n in range(COUNT) if f"{name}|{n}|value" in results]
        if loss not in METRIC_LOSSES:
            continue
        assert len(tried) >= COUNT / 3
        errors = {}
        for n in tried:
            found = ours(loss, arguments, kind, read[n])
            for part, array in zip(PARTS, found, strict=False):
                wanted = results[f"{name}|{n}|{part}"]
                error = difference(array.reshape(wanted.shape), wanted)
                errors.setdefault(part, []).append(error)
        worst[name] = {part: max(e) for part, e in errors.items()}
        figures = "  ".join(f"{part} {e:.1e}" for part, e in worst[name].items())
        print(f"{name:30} {len(tried):4} batches  {figures}")
    assert {n for n, e in worst.items() if max(e.values()) > BOUND} == set()


def test_a_training_goes_as_it_went_with_addons(tmp_path):
    curves = []
    for whose, python in (
        ("addons", ROOT / ".venv-addons" / "bin" / "python"),
        ("ours", Path(sys.executable)),
    ):
        if not python.exists():
            pytest.skip("no .venv-addons: make oracles")
        path = tmp_path / f"{whose}.npy"
        command = [str(python), str(HERE / "migration.py"), whose, str(path)]
        environment = {
            **os.environ,
            "PYTHONPATH": "" if whose == "addons" else str(ROOT),
        }
        subprocess.run(command, check=True, env=environment, timeout=600)
        curves.append(np.load(path))
    assert curves[0].shape == (50,) and curves[0][-5:].mean() < curves[0][:5].mean()
    difference = np.abs(curves[0] - curves[1]).max()
    print(f"50 steps of triplet training: losses differ by {difference:.1e} at most")
    assert difference < 1e-5
