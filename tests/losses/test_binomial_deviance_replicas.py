import json
import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("two_replicas.py")


@pytest.fixture(scope="module")
def report():
    """Two replicas need a process whose devices nobody has touched yet."""
    root = str(SCRIPT.parents[2])
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_replicas_sum_to_one_device(report):
    assert report["replicas"] == 2
    assert len(report["cases"]) == 12
    for case, figures in report["cases"].items():
        found, wanted = figures["value"]
        assert found == pytest.approx(wanted, rel=1e-5), case
        assert figures["gradient_size"] > 0.02, case
        assert figures["gradient_error"] < 1e-5 * figures["gradient_size"], case


@pytest.mark.slow
def test_fit_on_two_replicas_ends_with_the_same_weights(report):
    assert report["fit"]["weight_error"] < 1e-5
    found, wanted = report["fit"]["losses"]
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_replicas_of_unequal_size_are_refused(report):
    assert "drop_remainder" in report["uneven"]


@pytest.mark.slow
def test_pairs_within_replicas_do_not_cross(report):
    figures = report["within replicas"]
    found, wanted = figures["value"]
    assert found == pytest.approx(wanted, rel=1e-5)
    assert figures["gradient_error"] < 1e-5 * figures["gradient_size"]
    # The halves of this batch have other pairs than the whole.
    whole, _ = report["cases"]["mixed, loss, static"]["value"]
    assert found != pytest.approx(whole, rel=1e-2)
