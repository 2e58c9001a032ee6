"""Answers that are wrong, huge, slow or of another version: one error each."""

import contextlib
import itertools
import json
import math
import re
import socket
import struct
import threading
import time
import tracemalloc
import zlib

import grpc
import numpy as np
import pytest

from deml_tf.client import Client, transport
from deml_tf.errors import DataError, UsageError
from tests.client.fixed_servers import (
    ABOUT,
    DESCRIBE,
    PREDICTION,
    described,
    described_json,
    grpc_server,
    http_server,
    outputs,
    predicted,
    predicted_json,
    raw_server,
    right,
    right_grpc,
)
from tests.client.fuzz_answers import READERS, fuzz
from tests.client.made_up import held

IMAGES = [b"a", b"b"]


def over_rest(content, *headers):
    """Answers this to predictions."""
    return lambda m, p, b: right(m, p, b) if m == "GET" else (200, content, *headers)


def over_grpc(message):
    """Answers this to predictions."""
    return lambda what, r, c: described() if what == DESCRIBE else message


def embed(address, protocol, **options):
    options = {"retries": 0, "timeout": 20, "protocol": protocol} | options
    with Client(address, "m", **options) as client:
        return client.embed(IMAGES)


def with_shape(*shape, **values):
    message = predicted(outputs(2))
    tensor = message.outputs["embedding"]
    tensor.ClearField("tensor_content")
    tensor.ClearField("tensor_shape")
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    for name, value in values.items():
        getattr(tensor, name).extend(value)
    return message


@pytest.mark.parametrize(
    "message, sentence",
    [
        (b"\xff" * 9, "a damaged message came"),
        (with_shape(1, 2**29, float_val=[1.0]), r"shape \[1, 536870912\] came"),
        (with_shape(2**62, 2**62, 2**62, float_val=[1.0]), "an output of the shape"),
        (with_shape(2**62, 0, float_val=[]), "an output of the shape"),
        (with_shape(-1, 2, float_val=[1.0]), r"shape \[-1, 2\] came"),
        (with_shape(2, 2, string_val=[b"a"]), "has other values"),
        (predicted(outputs(2) | {"boxes": np.zeros(2, "float32")}), "other shapes"),
        (
            predicted(outputs(2) | {"valid": np.array([b"a"])}),
            "neither floats",
        ),
        (predicted({}), "rows came: embedding 0, valid 0, boxes 0"),
        (PREDICTION.PredictResponse(), "rows came"),
    ],
)
def test_wrong_grpc_answers(message, sentence):
    with grpc_server(over_grpc(message)) as (address, seen):
        with (
            memory(30),
            pytest.raises(DataError, match=f"m: .* does not answer like .*{sentence}"),
        ):
            embed(address, "grpc")
        assert len(seen) == 2, "asks again after an answer that no other would mend"


def changed(name, value):
    found = json.loads(predicted_json(outputs(2)))
    found["outputs"][name] = value
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "that is no JSON"),
        (b"[" * 100_000, "that is no JSON"),
        (b"\xff\xfe\x00", "that is no JSON"),
        (b"[]", "that is no object"),
        (b'{"outputs": [[1]]}', "without named outputs"),
        (b'{"outputs": {}}', "rows came: embedding 0"),
        (changed("embedding", [[0.6, 0.8], [1.0]]), "rows of unequal length"),
        (changed("embedding", [["0.6", "0.8"]] * 2), "else than rows of float"),
        (changed("embedding", [["x" * 10**6], *[["a"]] * 10**5]), "rows of float"),
        (changed("embedding", [[None, 1.0]] * 2), "else than rows of float"),
        (changed("embedding", [[True, 0.0]] * 2), "else than rows of float"),
        (changed("embedding", 1.0), "else than rows of float"),
        (changed("boxes", [[[[0.5] * 4]]] * 2), "else than rows of float"),
        (changed("valid", [1, 1]), "else than rows of bool"),
        (changed("valid", [True]), "rows came: embedding 2, valid 1"),
    ],
)
def test_wrong_rest_answers(content, sentence):
    with http_server(over_rest(content)) as (address, seen):
        with (
            memory(60),
            pytest.raises(DataError, match=f"m: .* does not answer like .*{sentence}"),
        ):
            embed(address, "rest")
        assert len(seen) == 2, "asks again after an answer that no other would mend"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 3.0, 0.0])
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_wrong_number_costs_its_own_image(protocol, wrong):
    arrays = outputs(2)
    arrays["embedding"][1, 0] = wrong
    server, answer = {
        "grpc": (grpc_server, over_grpc(predicted(arrays))),
        "rest": (http_server, over_rest(predicted_json(arrays))),
    }[protocol]
    with server(answer) as (address, _):
        found = embed(address, protocol)
        assert found.valid.tolist() == [True, False]
        assert not found.embedding[1].any()
        assert re.match("answered by the server with no unit vector", found.reasons[1])
        arrays["embedding"][:] = wrong
    answers = {
        "grpc": over_grpc(predicted(arrays)),
        "rest": over_rest(predicted_json(arrays)),
    }
    with (
        server(answers[protocol]) as (address, _),
        pytest.raises(DataError, match="every image was answered by the server with"),
    ):
        embed(address, protocol)


@contextlib.contextmanager
def memory(most):
    """Holds that never more MB than these are in use, apart from what gRPC uses."""
    tracemalloc.start()
    try:
        yield
        used = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert used < most


def test_packed_answers_are_not_unpacked():
    packer = zlib.compressobj(1, wbits=31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(100))
    packed += packer.flush()  # half a megabyte
    headers = {"Content-Encoding": "gzip"}
    with (
        http_server(over_rest(packed, headers)) as (address, seen),
        memory(30),
        pytest.raises(DataError, match="a packed answer came, by gzip"),
    ):
        embed(address, "rest")
    assert seen[0][1]["accept-encoding"] == "identity"
    gibberish = over_grpc(bytes(20 * 2**20))
    with (
        grpc_server(gibberish, compression=grpc.Compression.Gzip) as (address, _),
        pytest.raises(DataError, match="does not answer like .*larger than max"),
    ):
        embed(address, "grpc")


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_answers_larger_than_what_was_asked(protocol):
    length = transport.most_bytes(8) + 1000
    if protocol == "grpc":
        server, words = grpc_server(over_grpc(bytes(length))), "larger than max"
    else:
        server, words = http_server(over_rest(bytes(length))), "more than 5242880 bytes"
    with (
        server as (address, seen),
        pytest.raises(DataError, match=f"does not answer like .*{words}"),
    ):
        embed(address, protocol)
    assert len(seen) == 2


def test_answers_without_an_end():
    def talk(connection):
        connection.recv(10**6)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
        while True:
            connection.sendall(chunk)

    with (
        raw_server(talk) as address,
        memory(30),
        pytest.raises(DataError, match="more than 5242880 bytes came"),
    ):
        embed(address, "rest")


def test_a_connection_is_kept_and_made_anew():
    served, ended = [], threading.Event()
    linger = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))

    def talk(connection):
        connection.setsockopt(*linger)  # `close` returns when the client knows of it
        with connection, connection.makefile("rb") as lines:
            for _ in range(2):  # requests on one connection, then the server hangs up
                if not [*itertools.takewhile(bytes.strip, lines)]:
                    return
                content = described_json()
                served.append(connection)
                length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                connection.sendall(length % len(content) + content)
        ended.set()

    options = {"protocol": "rest", "concurrency": 1, "version": 1}
    with raw_server(talk) as address, Client(address, "m", **options) as client:
        for _ in range(2):
            client.check()
        assert ended.wait(60)
        client.check()
        assert client.retried.total() == 0
    assert len(set(served)) == 2 and served[0] is served[1]


def drip(head):
    def talk(connection):
        connection.recv(10**6)
        for byte in head:
            connection.sendall(bytes([byte]))
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    return talk


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_answers_that_drip_end_with_the_time(head):
    with (
        raw_server(drip(head)) as address,
        pytest.raises(DataError, match="does not answer in time .*passed"),
    ):
        embed(address, "rest", timeout=0.3)
    with (
        raw_server(drip(head)) as address,
        pytest.raises(DataError, match="does not answer in time"),
    ):
        embed(address, "rest", total_timeout=0.3)


def test_a_server_that_is_silent_ends_with_the_time():
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    for protocol in ("grpc", "rest"):
        with pytest.raises(DataError, match="does not answer in time"):
            embed(address, protocol, timeout=0.3)
    listener.close()


def test_an_answer_that_breaks_off():
    def talk(connection):
        connection.recv(10**6)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}")

    with (
        raw_server(talk) as address,
        pytest.raises(DataError, match="IncompleteRead.*2 bytes read, 97 more"),
    ):
        embed(address, "rest")


def changing(answer_of, at):
    """A server that changes to version 2 after so many predictions."""
    asked = []

    def answer(what, request, context):
        if what == DESCRIBE:
            return described(1)
        asked.append(what)
        return answer_of(2 if len(asked) > at else 1)

    return answer


def test_one_version_for_all_embeddings():
    answer = changing(lambda version: predicted(outputs(1), version), at=3)
    received = []
    options = {"label": "stable", "batch_size": 1, "concurrency": 1}
    with (
        grpc_server(answer) as (address, seen),
        Client(address, "m", **options) as client,
        pytest.raises(
            DataError,
            match="model=m: version 1, which this run began with, is not there any "
            r"more at .*version 2 answers for version 1\): run it anew",
        ),
    ):
        for index, _ in client.answers(list(held([b"a"] * 9).values())):
            received.append(index)
    assert received == [0, 1, 2]
    asked = ABOUT.GetModelMetadataRequest.FromString(seen[0][2])
    assert asked.model_spec.version_label == "stable"
    for _, _, request in seen[1:]:
        spec = PREDICTION.PredictRequest.FromString(request).model_spec
        assert spec.version.value == 1 and not spec.version_label


def test_one_version_in_rest_by_its_path():
    def answer(method, path, body):
        if method == "POST" and len(seen) > 2:
            return 404, b'{"error": "Servable not found for request: Specific(m, 1)"}'
        return right(method, path, body)

    with (
        http_server(answer) as (address, seen),
        Client(address, "m", protocol="rest", label="stable") as client,
    ):
        assert client.embed(IMAGES).valid.all() and client.version == 1
        with pytest.raises(DataError, match="version 1, which this run began with, is"):
            client.embed(IMAGES)
    asked = [what for what, _, _ in seen]
    assert asked[0] == "GET /v1/models/m/labels/stable/metadata"
    assert asked[1:] == ["POST /v1/models/m/versions/1:predict"] * 2


def test_a_version_that_is_given_is_asked_for_at_once():
    with http_server(right) as (address, seen):
        embed(address, "rest", version=1)
    assert [what for what, _, _ in seen] == ["POST /v1/models/m/versions/1:predict"]
    with (
        http_server(lambda *_: (200, described_json(2))) as (address, _),
        Client(address, "m", protocol="rest", version=1) as client,
        pytest.raises(DataError, match="version 2 answers for version 1"),
    ):
        client.check()


@pytest.mark.parametrize("status", [403, 501])
def test_a_server_that_does_not_tell_its_version(status):
    def answer(method, path, body):
        return right(method, path, body) if method == "POST" else (status, b"no")

    with http_server(answer) as (address, _):
        with pytest.raises(UsageError, match=r"does not tell its own .*version=N, so"):
            embed(address, "rest")
        with Client(address, "m", protocol="rest", version=1) as client:
            assert client.check() == 1
            assert client.embed(IMAGES).valid.all()


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_all_answers_have_one_shape(protocol):
    lengths = iter([2, 2, 3, 3, 3])

    def arrays():
        found = outputs(1)
        length = next(lengths)
        found["embedding"] = np.full((1, length), 1 / math.sqrt(length), "float32")
        return found

    def grpc_answer(what, request, context):
        return described() if what == DESCRIBE else predicted(arrays())

    def rest_answer(method, path, body):
        if method == "GET":
            return right(method, path, body)
        return 200, predicted_json(arrays())

    received = []
    server = (
        grpc_server(grpc_answer) if protocol == "grpc" else http_server(rest_answer)
    )
    options = {"protocol": protocol, "batch_size": 1, "concurrency": 1}
    with (
        server as (address, _),
        Client(address, "m", **options) as client,
        pytest.raises(DataError, match="its answers have different shapes"),
    ):
        for index, answer in client.answers(list(held([b"a"] * 4).values())):
            received.append((index, answer.embedding.shape))
    assert received == [(0, (2,)), (1, (2,))]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        described().SerializeToString().replace(b"SignatureDefMap", b"SignatureDefMop"),
        described(version=-1).SerializeToString(),
    ],
)
def test_wrong_metadata_over_grpc(content):
    with (
        grpc_server(lambda *_: content) as (address, _),
        pytest.raises(DataError, match="does not answer like an embedder"),
    ):
        embed(address, "grpc")


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"metadata": 1}',
        b'{"metadata": {"signature_def": {"signature_def": {"a": 1}}}}',
        b'{"metadata": {"signature_def": {"signature_def": {"a": {"inputs": [[]]}}}}}',
        described_json("1e3"),
    ],
)
def test_wrong_metadata_over_rest(content):
    with (
        http_server(lambda *_: (200, content)) as (address, _),
        pytest.raises(DataError, match="does not answer like an embedder"),
    ):
        embed(address, "rest")


def test_right_answers_are_right():
    with grpc_server(right_grpc) as (address, _):
        found = embed(address, "grpc")
    with http_server(right) as (address, _):
        same = embed(address, "rest")
    for one, other in zip(found[:3], same[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.valid.all()
    whole = over_rest(changed("embedding", [[1, 0], [0, -1]]))
    with http_server(whole) as (address, _):
        assert embed(address, "rest").embedding.tolist() == [[1, 0], [0, -1]]


def test_a_slice_of_the_fuzz():
    faults = []
    counts = fuzz(0, most=1000, size=10**5, report=faults.append)
    assert not faults
    for reader in READERS:
        assert counts[f"{reader} refused"] > 20 and counts[f"{reader} taken"] > 2
