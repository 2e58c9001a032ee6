import os
import subprocess
import sys

import pytest
from forks import ROOT

from deml_tf.kernels import onednn
from deml_tf.kernels.onednn import VARIABLE, prefer_onednn


@pytest.fixture
def fresh(monkeypatch):
    """A program on an x86 CPU that has not imported TensorFlow, nor chosen."""
    monkeypatch.setenv(VARIABLE, "")  # or what is chosen would stay afterwards
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(onednn.platform, "machine", lambda: "x86_64")
    return monkeypatch


def test_it_is_chosen(fresh):
    prefer_onednn()
    assert os.environ[VARIABLE] == "1"


@pytest.mark.skipif(
    onednn.platform.machine() not in onednn._MEASURED, reason="is for x86 alone"
)
def test_tests_choose_it_before_they_import_anything():
    code = (
        f"import os, runpy, sys; sys.path.insert(0, '{ROOT}/tests');"
        f"runpy.run_path('{ROOT}/tests/conftest.py'); print(os.environ['{VARIABLE}'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert process.stdout.split() == ["1"], process.stderr


def test_the_environment_decides(fresh):
    fresh.setenv(VARIABLE, "0")
    prefer_onednn()
    assert os.environ[VARIABLE] == "0"


def test_other_cpus_are_left_alone(fresh):
    fresh.setattr(onednn.platform, "machine", lambda: "aarch64")
    prefer_onednn()
    assert VARIABLE not in os.environ


def test_a_tensorflow_that_runs_is_left_alone(fresh):
    fresh.setitem(sys.modules, "tensorflow", None)
    prefer_onednn()
    assert VARIABLE not in os.environ


@pytest.mark.slow
@pytest.mark.skipif(
    onednn.platform.machine() not in onednn._MEASURED, reason="is for x86 alone"
)
@pytest.mark.parametrize(
    "first, given, used",
    [("deml_tf", None, True), ("deml_tf.train", None, True), ("deml_tf", "0", False)],
)
def test_tensorflow_heeds_it(first, given, used):
    code = (
        f"import {first}; from tensorflow.python.util import _pywrap_util_port as port;"
        "print(port.IsMklEnabled())"
    )
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
    if given:
        environment[VARIABLE] = given
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert process.stdout.split() == [str(used)], process.stderr
