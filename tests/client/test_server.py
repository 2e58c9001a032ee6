"""The client and its command, against the double of a server."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from deml_tf.client import Client, retries
from deml_tf.client.answers import stack
from deml_tf.errors import DataError, UsageError
from deml_tf.serving.proof_images import drawn_images
from tests.client import double_models
from tests.client.double_process import MODEL, Double
from tests.client.made_up import held, rows_of

PROTOCOLS = ("grpc", "rest")


def test_a_bad_request_fails_its_whole_batch():
    ran = []
    batching = double_models.Batching(most=4, seconds=600, queued=2, threads=1)
    queue = double_models.Queue(lambda a: ran.append(len(a["x"])) or a, batching)
    good, bad = {"x": np.zeros(2)}, {"x": np.zeros((2, 5))}
    futures = [queue.put(arrays) for arrays in (good, bad)]
    for future in futures:
        with pytest.raises(double_models.Refusal, match="must agree"):
            future.result(60)
    futures = [queue.put(good) for _ in range(2)]
    queue.batching = dataclasses.replace(batching, seconds=0.1)
    futures.append(queue.put(good))  # alone, and no other comes
    assert [len(future.result(60)["x"]) for future in futures] == [2, 2, 2]
    assert ran == [4, 2]
    with pytest.raises(double_models.Refusal, match="Task size 5 is larger"):
        queue.put({"x": np.zeros(5)})


def test_wrong_requests_fail_as_the_server_fails_them(double):
    channel = grpc.insecure_channel(double.address("grpc"))
    predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict

    def failure(signature="serving_default", **inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = MODEL
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        with pytest.raises(grpc.RpcError) as caught:
            predict(request, timeout=30)
        return caught.value.code().name, caught.value.details()

    code, text = failure(image_bytes=np.zeros(2, "float32"))
    assert code == "INVALID_ARGUMENT" and "to be string but float" in text
    code, text = failure(image_bytes=[[b"a"], [b"b"]])
    assert code == "INVALID_ARGUMENT" and "shape" in text
    assert failure(images=[b"a"])[0] == "INVALID_ARGUMENT"
    assert failure()[0] == "INVALID_ARGUMENT"
    assert failure("none", image_bytes=[b"a"])[0] == "FAILED_PRECONDITION"
    channel.close()


@pytest.fixture(scope="module")
def known(double):
    """Images, broken ones among them, and what the model makes of them."""
    contents = drawn_images(10)
    contents[3:3] = [b"", contents[0][:300]]
    module = tf.saved_model.load(str(double.models / MODEL / "1"))
    outputs = module.signatures["serving_default"](image_bytes=tf.constant(contents))
    return contents, {name: value.numpy() for name, value in outputs.items()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_answers_of_the_model(double, known, protocol):
    contents, expected = known
    address = double.address(protocol)
    with Client(
        address, MODEL, protocol=protocol, batch_size=5, label="stable"
    ) as client:
        client.check()
        found = client.embed(contents)
    np.testing.assert_allclose(found.embedding, expected["embedding"], atol=1e-6)
    np.testing.assert_allclose(found.boxes, expected["boxes"], atol=1e-5)
    np.testing.assert_array_equal(found.valid, expected["valid"])
    assert [n for n, reason in enumerate(found.reasons) if reason] == [3, 4]
    assert np.linalg.norm(found.embedding[0] - found.embedding[1]) > 1e-3
    assert not client.retried


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"model": "cars"}, r"model=cars: .* has no such model or version .*Latest"),
        ({"version": 7}, rf"model={MODEL}: .*Specific\({MODEL}, 7\)"),
        ({"signature": "none"}, "signature=none is not there: .* has serving_default"),
        ({"signature": "images_float"}, "images_float takes no encoded images"),
    ],
)
def test_what_the_server_does_not_have(double, protocol, options, sentence):
    arguments = {"server": double.address(protocol), "model": MODEL} | options
    with (
        Client(protocol=protocol, **arguments) as client,
        pytest.raises(UsageError, match=sentence),
    ):
        client.check()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "fault, retried",
    [
        ({"code": "UNAVAILABLE", "times": 2}, {"UNAVAILABLE": 2}),
        ({"code": "RESOURCE_EXHAUSTED"}, {"RESOURCE_EXHAUSTED": 1}),
        ({"seconds": 8}, {"DEADLINE_EXCEEDED": 1}),
        ({"code": "INVALID_ARGUMENT"}, {}),
        ({"code": "INVALID_ARGUMENT", "times": 2}, {}),
    ],
)
def test_outlives_faults(double, known, protocol, fault, retried):
    contents, expected = known
    options = {"protocol": protocol, "timeout": 5 if "seconds" in fault else 30}
    with (
        Client(double.address(protocol), MODEL, concurrency=1, **options) as client,
        double.failing(**fault),
    ):
        found = client.embed(contents[:3])
    np.testing.assert_allclose(found.embedding, expected["embedding"][:3], atol=1e-6)
    assert found.valid.all() and client.retried == retried


def test_a_batch_too_large_for_the_server(double, known):
    contents, expected = known
    with Client(double.address("grpc"), MODEL, batch_size=36) as client:
        found = client.embed(contents * 3)
    np.testing.assert_array_equal(found.valid, np.tile(expected["valid"], 3))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nobody_there(protocol):
    with Client("127.0.0.1:1", MODEL, protocol=protocol, retries=2) as client:
        with pytest.raises(DataError, match="server=127.0.0.1:1 cannot be reached"):
            client.check()
        assert client.retried == {"UNAVAILABLE": 2}


@pytest.mark.parametrize("protocol, other", [PROTOCOLS, PROTOCOLS[::-1]])
def test_the_wrong_port(double, protocol, other):
    with (
        Client(double.address(other), MODEL, protocol=protocol, retries=1) as client,
        pytest.raises(DataError, match=f"port on which it speaks (?i:{protocol})"),
    ):
        client.check()


@pytest.mark.slow
def test_outlives_a_kill(double, known, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.5)
    contents, expected = known
    own = Double(double.models, tmp_path / "log").start()
    under_way, killed = threading.Barrier(3), threading.Event()

    def ask_for_all(protocol):
        options = {"protocol": protocol, "batch_size": 2, "concurrency": 3}
        wanted = list(held(contents * 20).values())
        with Client(own.address(protocol), MODEL, retries=60, **options) as client:
            received = {}
            for index, answer in client.answers(wanted):
                received[index] = answer
                if len(received) == 60:
                    under_way.wait(60)
                    killed.wait(60)
            return stack([received[n] for n in range(len(wanted))]), client.retried

    try:
        with ThreadPoolExecutor() as pool:
            futures = [pool.submit(ask_for_all, protocol) for protocol in PROTOCOLS]
            under_way.wait(60)
            own.kill()
            killed.set()
            own.start()
            for future in futures:
                found, retried = future.result(60)
                rows = np.tile(expected["embedding"], (20, 1))
                np.testing.assert_allclose(found.embedding, rows, atol=1e-6)
                assert retried["UNAVAILABLE"] > 0
    finally:
        own.kill()


@pytest.fixture
def folder(tmp_path, known):
    contents, _ = known
    (tmp_path / "in").mkdir()
    for n, content in enumerate(contents):
        (tmp_path / "in" / f"{n:02d}.jpg").write_bytes(content)
    return tmp_path / "in"


@pytest.mark.slow
def test_the_command(command, double, folder, known, tmp_path):
    contents, expected = known
    out = tmp_path / "new" / "out.parquet"
    status, printed, errors = command(
        "client",
        f"--server={double.address('grpc')}",
        folder,
        f"--model={MODEL}",
        f"--output={out}",
        "--batch_size=5",
    )
    assert status == 0, errors
    assert "10 of 12 images in" in printed
    assert f"not embedded: {folder}/03.jpg: not an image" in printed
    rows = rows_of(out)
    assert rows["path"] == [f"{folder}/{n:02d}.jpg" for n in range(12)]
    assert rows["valid"] == expected["valid"].tolist()
    np.testing.assert_allclose(rows["embedding"], expected["embedding"], atol=1e-6)


@pytest.mark.slow
def test_the_command_keeps_what_it_got(command, double, folder, tmp_path):
    out = tmp_path / "out.jsonl"
    with double.failing(before=2, code="UNAVAILABLE", times=10**6):
        status, _, errors = command(
            "client",
            f"--server={double.address('rest')}",
            "--protocol=rest",
            f"--model={MODEL}",
            f"--output={out}",
            "--batch_size=3",
            "--concurrency=1",
            "--retries=1",
            folder,
        )
    assert status == 1 and not out.exists()
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: --server=127.0.0.1:")
    partial = tmp_path / "out.partial.jsonl"
    assert f"6 of 12 images were received and are in {partial}." in errors
    names = [name.rpartition("/")[2] for name in rows_of(partial)["path"]]
    assert names == [f"{n:02d}.jpg" for n in range(6)]
