"""Addresses of data services, and what is said of services that fail."""

import contextlib
import os
import socket
import threading
from unittest import mock

import pytest
import tensorflow as tf

from deml_tf.cli.error_text import service_error
from deml_tf.data.address import direct, is_host, is_loopback, split
from deml_tf.data.service import check_service, through_service
from deml_tf.errors import DataError

service = tf.data.experimental.service


@pytest.fixture(scope="module")
def served():
    """Addresses of a dispatcher and of its worker."""
    dispatcher = service.DispatchServer()
    address = dispatcher.target.removeprefix("grpc://")
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
    yield address, worker._address
    del worker, dispatcher


def test_servers_listen_on_every_network(served):
    """Should this fail, TensorFlow can be bound: bind what --host names."""
    for address in served:
        port = int(address.rpartition(":")[2])
        socket.create_connection(("127.0.0.2", port), 5).close()


def read_missing(numbers):
    return numbers.map(lambda n: tf.io.read_file("/none/0.png"))


def read_number(numbers):
    return numbers.map(lambda n: n * n)


@contextlib.contextmanager
def server_that_says(words):
    """The address of one that says so to whoever comes first."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            visitor, _ = server.accept()
            with visitor:
                visitor.sendall(words)
                visitor.recv(100)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_addresses():
    assert split("host:5050") == ("host", 5050)
    assert split("10.0.0.1:1") == ("10.0.0.1", 1)
    assert split("[::1]:65535") == ("[::1]", 65535)
    for wrong in ("", "host", ":1", "host:", "host:0", "host:65536", "a b:1", "a:1:2"):
        assert split(wrong) is None
    for wrong in ("http://host:1", "me@host:1", "host:" + "9" * 5000):
        assert split(wrong) is None
    assert not is_host("")


@pytest.mark.parametrize(
    ("host", "own"),
    [("localhost", True), ("127.0.0.2", True), ("[::1]", True), ("10.0.0.1", False)],
)
def test_hosts_that_other_machines_do_not_reach(host, own):
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("given", "exceptions"),
    [
        ({}, None),
        ({"no_proxy": "a"}, None),
        ({"http_proxy": "http://p:1"}, "localhost,127.0.0.1"),
        ({"https_proxy": "p:1", "no_proxy": "a,b"}, "a,b,localhost,127.0.0.1"),
        ({"http_proxy": "p:1", "NO_PROXY": "a"}, "a,localhost,127.0.0.1"),
        (
            {"grpc_proxy": "p:1", "no_proxy": "a", "no_grpc_proxy": "127.0.0.1,b"},
            "127.0.0.1,b,localhost",
        ),
    ],
)
def test_no_proxy_is_asked_for_this_machine(given, exceptions):
    with mock.patch.dict(os.environ, given, clear=True):
        assert direct() == ({"no_grpc_proxy": exceptions} if exceptions else {})
        further = {"no_grpc_proxy": f"{exceptions},here"} if exceptions else {}
        assert direct("here", "127.0.0.1") == further


def test_a_service_here_is_reached_past_a_proxy(served, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_grpc_proxy", "a.example")
    found, distribute = [], service.distribute

    def reached(*arguments):
        found.append(os.environ["no_grpc_proxy"])
        assert "127.0.0.1" in found[0]  # else it would wait for ever
        return distribute(*arguments)

    monkeypatch.setattr(service, "distribute", reached)
    address = served[0].replace("localhost", "127.0.0.1")
    batches = through_service(tf.data.Dataset.range(3), read_number, address)
    assert [int(n) for n in batches] == [0, 1, 4]
    assert found == ["a.example,localhost,127.0.0.1"]


def test_a_service_that_is_up(served):
    address, _ = served
    check_service(address)
    check_service(f"grpc://{address}")
    batches = through_service(tf.data.Dataset.range(3, 9), read_number, address)
    assert [int(n) for n in batches] == [n * n for n in range(3, 9)]


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 400 \r\n"])
def test_something_else_than_a_service(words):
    with server_that_says(words) as address:
        with pytest.raises(DataError, match=f"{address} is something else"):
            check_service(address)


def test_a_worker_is_no_dispatcher(served):
    _, address = served
    with pytest.raises(DataError, match=r"takes no data set \(.*\d\): name"):
        through_service(tf.data.Dataset.range(2), read_number, address)


def test_a_service_without_the_images(served):
    address, _ = served
    batches = through_service(tf.data.Dataset.range(5, 7), read_missing, address)
    with pytest.raises(tf.errors.OpError) as raised:
        list(batches)
    said = str(service_error(raised.value))
    assert said.startswith(f"data_service={address} gives no batch 5 (")
    assert "/none/0.png; No such file or directory): see" in said
