"""Replicas and workers do what one does: gradients, logs and whole trainings."""

import json
import os

import pytest
import replicas
from cases import REAL, SMALL
from forks import Fork

from deml_tf.training.worker_processes import free_addresses, tf_config

TRAINED, LOGS = 1e-4, 1e-5  # largest difference over largest value


def start(argument, names, **variables):
    """Starts `replicas.py` in a process whose TensorFlow has not begun."""
    environment = {**os.environ, **variables}
    return Fork(replicas.main, argument, names, environment=environment, longest=7200)


def reports(processes):
    """What each of the processes found."""
    found = [process.communicate() for process in processes]
    assert all(process.returncode == 0 for process in processes), found
    return [json.loads(output.splitlines()[-1]) for output, _ in found]


def check(found):
    print(f"\n{found['replicas']} replicas against one, largest relative difference:")
    for name, case in found["gradients"].items():
        print(f"  gradients, {name}: {case['error']:.1e} of {case['bound']:.1e}")
    for name, (error, _) in found["trained"].items():
        print(f"  ten steps, {name}: {error:.1e}")
    for name, case in found["gradients"].items():
        assert case["error"] < case["bound"], (name, case["variable"])
        for log, (values, wanted) in case["logs"].items():
            assert len(set(values)) == 1, (name, log)  # the same on all of them
            # A difference of losses over one of them, which is near 0 to begin with.
            scale = 1 if log == "flat_point_distance" else abs(wanted)
            assert abs(values[0] - wanted) <= LOGS * scale, (name, log)
    for name, (error, variable) in found["trained"].items():
        assert error < TRAINED, (name, variable)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "names"),
    [
        pytest.param(2, SMALL, id="2-small"),
        pytest.param(2, REAL, id="2", marks=pytest.mark.long),
        pytest.param(4, REAL, id="4", marks=pytest.mark.long),
    ],
)
def test_replicas_equal_one(count, names):
    (found,) = reports([start(str(count), names)])
    assert found["replicas"] == count
    check(found)


@pytest.mark.slow
@pytest.mark.long
def test_workers_equal_one():
    addresses = free_addresses(2)
    found = reports(
        [
            start("workers", REAL, TF_CONFIG=tf_config(rank, addresses))
            for rank in range(len(addresses))
        ]
    )
    for each in found:
        assert each["replicas"] == 2
        check(each)
