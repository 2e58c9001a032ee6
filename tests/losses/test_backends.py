"""The losses on Keras's JAX and PyTorch backends, each in its own environment."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("on_backend.py")


def values_on(backend, python, path):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(python), str(SCRIPT), str(path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return np.load(path)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_values_and_gradients(backend, tmp_path, capsys):
    python = ROOT / f".venv-{backend}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no .venv-{backend}: make {backend}")
    wanted = values_on("tensorflow", sys.executable, tmp_path / "wanted.npz")
    found = values_on(backend, python, tmp_path / "found.npz")
    assert set(found) == set(wanted)
    worst = {}
    for name, value in wanted.items():
        loss = name.partition(";")[0]
        scale = max(np.abs(value).max(), 1.0)
        difference = np.abs(found[name] - value).max() / scale
        # The distance of equal vectors is the root of a rounding: 2**-11 for one.
        bound = 2e-3 if "degenerate" in name else 2e-5
        assert np.isfinite(value).all() and difference < bound, name
        worst[loss] = max(worst.get(loss, 0), difference)
    with capsys.disabled():
        print(f"\n{backend}: " + ", ".join(f"{n} {d:.1e}" for n, d in worst.items()))
