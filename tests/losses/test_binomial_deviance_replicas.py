import json

import pytest
import two_replicas
from forks import Fork


@pytest.fixture(scope="module")
def report():
    """Two replicas need a process whose devices nobody has touched yet."""
    process = Fork(two_replicas.main)
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-4000:]
    return json.loads(output.splitlines()[-1])


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
