"""The client, against made-up servers."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from deml_tf.client import Client, connection
from deml_tf.client.retries import Patience
from deml_tf.errors import DataError, UsageError
from tests.client.made_up import Server, held


@pytest.fixture
def client_of(monkeypatch):
    def make(server, **options):
        monkeypatch.setattr(connection, "_transport", lambda *_: (server, Patience))
        return Client("nowhere:1", "m", **options)

    return make


def test_order_and_concurrency(client_of):
    server = Server()
    contents = [bytes([n]) for n in range(64, 240)]
    with client_of(server, batch_size=3, concurrency=5) as client:
        found = client.embed(contents)
    np.testing.assert_array_equal(found.embedding[:, 0], np.arange(64, 240))
    assert found.valid.all() and found.boxes.shape == (176, 2, 4)
    assert 1 < server.most_at_once <= 5 and len(server.asked) == 59


def test_what_came_before_the_end_is_given(client_of):
    server = Server("UNAVAILABLE")
    contents = [b"a"] * 40 + [b"!"] + [b"a"] * 4000
    client = client_of(server, batch_size=4, concurrency=2, retries=1)
    found = []
    with pytest.raises(DataError, match="server=nowhere:1 cannot be reached.*start it"):
        for index, _ in client.answers(list(held(contents).values())):
            found.append(index)
    assert set(range(40)) <= set(found) and 40 not in found
    assert len(found) < 1000, "goes on although the server is gone"
    assert client.retried == {"UNAVAILABLE": 1}


def test_refusing_everything_is_an_error(client_of):
    with pytest.raises(DataError, match=r"every image was refused .*spoilt"):
        client_of(Server()).embed([b"!"] * 3)
    assert client_of(Server()).embed([b"!", b"a"]).valid.tolist() == [False, True]


def test_nothing_to_embed(client_of):
    found = client_of(Server()).embed([])
    assert found.embedding.shape == (0, 0) and found.boxes.shape == (0, 0, 4)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"server": "host"}, "server=host: write HOST:PORT"),
        ({"server": "host:0"}, "server=host:0: write HOST:PORT"),
        ({"server": "http://host:1"}, "server=http"),
        ({"protocol": "soap"}, "protocol=soap: give grpc or rest"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"retries": -1}, "retries=-1"),
        ({"timeout": 0}, "timeout=0"),
        ({"total_timeout": float("nan")}, "total_timeout=nan"),
        ({"version": 1, "label": "stable"}, "label=stable: leave it out"),
    ],
)
def test_arguments(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        Client(**({"server": "host:1", "model": "m"} | arguments))


@pytest.mark.parametrize(
    "protocol, module",
    [("grpc", "grpc"), ("grpc", "tensorflow_serving.apis"), ("rest", "tenacity")],
)
def test_without_the_extra(monkeypatch, protocol, module):
    own = (f"{protocol}_transport", "client.retries")
    for name in [n for n in sys.modules if n.endswith(own)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r"pip install deml_tf\[client\]"):
        Client("host:1", "m", protocol=protocol)


def test_needs_no_tensorflow():
    for path in Path(connection.__file__).parent.glob("*.py"):
        # `tensorflow.core` holds messages alone.
        used = re.findall(r"(?:import|from) (tensorflow[\w.]*)", path.read_text())
        assert set(used) <= {"tensorflow.core.framework", "tensorflow_serving.apis"}
