"""Several replicas do what one does: gradients, logs and whole trainings."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GRADIENTS, TRAINED, LOGS = 1e-5, 1e-4, 1e-5  # largest difference over largest value


@functools.cache
def report(replicas):
    """What `replicas.py` found, in a process whose CPU is cut into replicas."""
    process = subprocess.run(
        [sys.executable, HERE / "replicas.py", str(replicas)],
        cwd=HERE.parent.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_equal_one(replicas, capsys):
    found = report(replicas)
    assert found["replicas"] == replicas
    with capsys.disabled():
        print(f"\n{replicas} replicas against one, largest relative difference:")
        for name, case in found["gradients"].items():
            print(f"  gradients, {name}: {case['error']:.1e}")
        for name, (error, _) in found["trained"].items():
            print(f"  ten steps, {name}: {error:.1e}")
    for name, case in found["gradients"].items():
        assert case["error"] < GRADIENTS, (name, case["variable"])
        for log, (values, wanted) in case["logs"].items():
            assert len(set(values)) == 1, (name, log)  # the same on all of them
            assert values[0] == pytest.approx(wanted, rel=LOGS), (name, log)
    for name, (error, variable) in found["trained"].items():
        assert error < TRAINED, (name, variable)
