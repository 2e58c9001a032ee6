"""Replicas and workers do what one does: gradients, logs and whole trainings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deml_tf.launch import free_addresses, tf_config

HERE = Path(__file__).parent
GRADIENTS, TRAINED, LOGS = 1e-5, 1e-4, 1e-5  # largest difference over largest value


def start(argument, **variables):
    """Starts `replicas.py` in a process whose TensorFlow has not begun."""
    return subprocess.Popen(
        [sys.executable, HERE / "replicas.py", argument],
        cwd=HERE.parent.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), **variables},
        # The standard error is pytest's: nobody would empty a pipe of it while another
        # process is waited for.
        stdout=subprocess.PIPE,
        text=True,
    )


def reports(processes):
    """What each of the processes found."""
    outputs = [process.communicate(timeout=2400)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def check(found):
    print(f"\n{found['replicas']} replicas against one, largest relative difference:")
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


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.long)])
def test_replicas_equal_one(replicas):
    (found,) = reports([start(str(replicas))])
    assert found["replicas"] == replicas
    check(found)


@pytest.mark.slow
@pytest.mark.long
def test_workers_equal_one():
    addresses = free_addresses(2)
    found = reports(
        [
            start("workers", TF_CONFIG=tf_config(rank, addresses))
            for rank in range(len(addresses))
        ]
    )
    for each in found:
        assert each["replicas"] == 2
        check(each)
