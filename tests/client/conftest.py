"""Short waits, for all tests of the client."""

import pytest

from deml_tf.client import retries


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.02)
