"""The double, and short waits, for all tests of the client."""

import pytest

from deml_tf.client import retries
from tests.client.double_process import Local, exported_once


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.02)


@pytest.fixture(scope="session")
def double(tmp_path_factory):
    """One for all tests of a process."""
    local = Local(exported_once(tmp_path_factory))
    yield local
    local.close()
