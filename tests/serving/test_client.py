"""The client, against made-up servers and against the double."""

import io
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import double_models
import grpc
import numpy as np
import pytest
import tensorflow as tf
from double_process import MODEL, Double, shared
from PIL import Image
from pyarrow import parquet
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from deml_tf.client import Client, files, output, retries
from deml_tf.client import connection as client_module
from deml_tf.client.answers import Answer, stack
from deml_tf.client.batch import ask
from deml_tf.client.failures import ServerError
from deml_tf.client.files import ImageFile, batches, find_images
from deml_tf.client.retries import Patience
from deml_tf.client.target import Outputs
from deml_tf.client.tensors import array_of, string_tensor
from deml_tf.errors import DataError, UsageError
from deml_tf.serving.proof_images import drawn_images

PROTOCOLS = ("grpc", "rest")


@pytest.fixture
def double():
    return shared()


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.02)


class Server:
    """Answers an image's first byte; `b"!"` spoils a request, as told."""

    def __init__(self, code="INVALID_ARGUMENT", spoilt=10**9):
        self.code, self.spoilt = code, spoilt
        self.asked, self.lock, self.at_once, self.most_at_once = [], None, 0, 0
        self.lock = threading.Lock()

    def predict(self, images, timeout):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.asked.append(images)
            bad = b"!" in images and self.spoilt > 0
            self.spoilt -= bad
        time.sleep(random.uniform(0, 0.005))
        with self.lock:
            self.at_once -= 1
        if bad:
            raise ServerError(self.code, "spoilt")
        values = np.array([float(i[0]) for i in images], np.float32)
        valid = np.array([i != b"?" for i in images])
        return Outputs(np.stack([values] * 3, 1), valid, np.zeros((len(images), 2, 4)))

    def close(self):
        pass


@pytest.fixture
def client_of(monkeypatch):
    def make(server, **options):
        monkeypatch.setattr(client_module, "_ways", lambda _: (server, Patience))
        return Client("nowhere:1", "m", **options)

    return make


def held(contents):
    return {n: ImageFile(len(c), lambda c=c: c) for n, c in enumerate(contents)}


# --- images on disk


def test_batches_keep_both_limits():
    assert list(batches([], 4)) == []
    assert list(batches([1] * 10, 4)) == [range(0, 4), range(4, 8), range(8, 10)]
    sizes = [5, 5, 5, 30, 1, 1, 9, 2]
    found = list(batches(sizes, 3, most_bytes=10))
    assert found == [
        range(0, 2),
        range(2, 3),
        range(3, 4),
        range(4, 6),
        range(6, 7),
    ] + [range(7, 8)]


def test_finds_files_and_folders(tmp_path):
    names = ["b/2.JPG", "b/1.png", "b/c/0.webp", "b/notes.txt", "a.bin"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_images([tmp_path / "a.bin", tmp_path / "b"])
    shown = [str(path.relative_to(tmp_path)) for path in found]
    assert shown == ["a.bin", "b/1.png", "b/2.JPG", "b/c/0.webp"]
    with pytest.raises(UsageError, match="missing does not exist"):
        find_images([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds no images"):
        find_images([tmp_path / "empty"])


def decoded(encoded):
    return tf.io.decode_image(encoded, 3, expand_animations=False).numpy()


def test_made_smaller_and_upright(encode, rotated):
    stored = rotated(6, height=200, width=400)
    found = decoded(files.downscaled(stored, 100))
    assert found.shape == (100, 50, 3)
    image = Image.open(io.BytesIO(stored)).transpose(Image.Transpose.ROTATE_270)
    expected = np.asarray(image.resize((50, 100), Image.Resampling.BILINEAR), float)
    assert np.abs(found - expected).mean() < 2
    for same in (
        stored[:500],
        b"no image",
        encode("JPEG", 200, 400, "CMYK"),
        encode("JPEG", 60, 100),
    ):
        assert files.downscaled(same, 100) is same


def test_reads_when_asked(tmp_path, encode):
    (tmp_path / "a.png").write_bytes(encode("PNG", 300, 400))
    (tmp_path / "x.jpg").mkdir()
    whole = files.on_disk(tmp_path / "a.png")
    assert whole.read() == (tmp_path / "a.png").read_bytes()
    assert whole.size == len(whole.read())
    smaller = files.on_disk(tmp_path / "a.png", 40).read()
    assert max(decoded(smaller).shape) == 40
    for name in ("x.jpg", "gone.jpg"):
        with pytest.raises(OSError):
            files.on_disk(tmp_path / name).read()


# --- messages


def test_tensors_as_tensorflow_reads_them():
    values = [b"a\0b", b"", b"\xff"]
    tensor = string_tensor(values)
    assert tf.make_ndarray(tensor).tolist() == values
    assert tensor == tf.make_tensor_proto(values)
    for array in (
        np.arange(24, dtype="float32").reshape(2, 3, 4),
        np.array([True, False]),
    ):
        np.testing.assert_array_equal(array_of(tf.make_tensor_proto(array)), array)
    short = tf.make_tensor_proto(np.zeros((2, 2), "float32"))
    short.ClearField("tensor_content")
    short.float_val.extend([1, 7])
    np.testing.assert_array_equal(array_of(short), [[1, 7], [7, 7]])
    short.float_val.extend([1, 2, 3])
    for wrong in (short, tf.make_tensor_proto([1])):
        with pytest.raises(ServerError, match="INTERNAL: an output"):
            array_of(wrong)
    assert array_of(tf.make_tensor_proto(np.zeros((0, 5), "float32"))).shape == (0, 5)


# --- retries

AGAIN = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"]
NEVER = ["INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "INTERNAL", "HTTP 418"]


def failing(code, times, message=""):
    tries = []

    def request(seconds):
        tries.append(seconds)
        if len(tries) <= times:
            raise ServerError(code, message)
        return "done"

    return request, tries


@pytest.mark.parametrize("code", AGAIN)
def test_codes_that_deserve_it(code):
    patience = Patience(timeout=7, retries=3)
    request, tries = failing(code, 3)
    assert patience.call(request) == "done"
    assert tries == [7] * 4 and patience.retried == {code: 3}
    request, tries = failing(code, 4)
    with pytest.raises(ServerError, match=code):
        patience.call(request)
    assert len(tries) == 4


@pytest.mark.parametrize("code", NEVER)
def test_codes_that_do_not(code):
    request, tries = failing(code, 1)
    with pytest.raises(ServerError):
        Patience(7, 3).call(request)
    assert len(tries) == 1


def test_a_message_too_long_stays_too_long():
    text = "Received message larger than max (9 vs. 4)"
    request, tries = failing("RESOURCE_EXHAUSTED", 1, text)
    with pytest.raises(ServerError):
        Patience(7, 3).call(request)
    assert len(tries) == 1


def test_ends_with_the_time_for_all(monkeypatch):
    monkeypatch.setattr(retries, "_LONGEST_WAIT", 0.05)
    patience = Patience(timeout=7, retries=100, until=time.monotonic() + 0.2)
    request, tries = failing("UNAVAILABLE", 10**6)
    # the latter where a busy machine sleeps longer than it was told
    with pytest.raises(ServerError, match="UNAVAILABLE|time for all images is over"):
        patience.call(request)
    assert 1 < len(tries) <= patience.retried.total() + 1 < 100
    assert all(seconds <= 0.2 for seconds in tries)
    patience.until = time.monotonic() - 1
    with pytest.raises(ServerError, match="time for all images is over"):
        patience.call(request)


def test_ends_when_told(monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 600.0)
    monkeypatch.setattr(retries, "_LONGEST_WAIT", 600.0)
    patience = Patience(7, 10)
    request, tries = failing("UNAVAILABLE", 10**6)
    threading.Timer(0.1, patience.stop.set).start()
    with pytest.raises(ServerError):
        patience.call(request)
    assert len(tries) == 2  # waits end, and one more try says how it is


# --- batches, one by one


def test_one_bad_image_does_not_take_its_neighbours_along():
    server = Server()
    contents = [b"a", b"b", b"!", b"?", b"c"]
    found, error = ask(server, held(contents), Patience(7, 3))
    assert error is None
    answers = dict(found)
    assert [answers[n].reason for n in (0, 1, 3, 4)] == ["", "", "not an image", ""]
    assert answers[2].reason == "refused by the server (INVALID_ARGUMENT: spoilt)"
    assert answers[1].embedding.tolist() == [98.0] * 3
    assert server.asked == [
        contents,
        *([c] for c in contents[:3]),
        [b"!"],
        [b"?"],
        [b"c"],
    ]


def test_another_clients_bad_request_is_outlived():
    server = Server(spoilt=2)
    found, error = ask(server, held([b"!"]), Patience(7, 3))
    assert error is None and found[0][1].valid
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", ["NOT_FOUND", "FAILED_PRECONDITION", "UNAVAILABLE"])
def test_what_concerns_all_is_not_asked_one_by_one(code):
    server = Server(code)
    found, error = ask(server, held([b"a", b"!"]), Patience(7, 0))
    assert found == [] and error.code == code and len(server.asked) == 1


def test_files_that_cannot_be_read():
    def refuse():
        raise PermissionError(13, "Permission denied")

    items = held([b"a", b"b"]) | {2: ImageFile(1, refuse)}
    server = Server()
    answers = dict(ask(server, items, Patience(7, 0))[0])
    assert answers[2].reason == "cannot be read (Permission denied)"
    assert answers[0].valid and server.asked == [[b"a", b"b"]]
    assert ask(server, {0: ImageFile(1, refuse)}, Patience(7, 0))[1] is None
    assert len(server.asked) == 1


# --- the client


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
    [("grpc", "grpc"), ("grpc", "tensorflow_serving.apis"), ("rest", "requests")],
)
def test_without_the_extra(monkeypatch, protocol, module):
    for name in [n for n in sys.modules if n.endswith(f"{protocol}_requests")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r"pip install deml_tf\[client\]"):
        Client("host:1", "m", protocol=protocol)


# --- output

ANSWERS = [
    Answer(np.array([0.6, 0.8], "float32"), np.full((3, 4), 0.1, "float32")),
    Answer(reason="cannot be read (gone)"),
    Answer(np.zeros(2, "float32"), np.zeros((3, 4), "float32"), "not an image"),
]
NAMES = ["a.jpg", "b\udcff.jpg", "ä c.png"]  # the second is no UTF-8


def rows_of(path):
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays}
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pydict()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize("suffix", [".npz", ".jsonl", ".parquet"])
def test_the_same_rows_in_all_formats(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    output.check_file(path)
    output.write_embeddings(path, NAMES, stack(ANSWERS))
    rows = rows_of(path)
    assert rows["path"] == ["a.jpg", "b\\xff.jpg", "ä c.png"]
    assert rows["valid"] == [True, False, False]
    assert rows["reason"] == ["", "cannot be read (gone)", "not an image"]
    np.testing.assert_array_equal(
        np.array(rows["embedding"], "float32"), np.float32([[0.6, 0.8], [0, 0], [0, 0]])
    )
    boxes = np.array(rows["boxes"], "float32")
    assert boxes.shape == (3, 3, 4) and boxes[0, 0, 0] == np.float32(0.1)
    output.write_embeddings(path, NAMES[1:2], stack(ANSWERS[1:2]))
    assert rows_of(path)["embedding"] == [[]]


def test_parquet_says_how_long_its_rows_are(tmp_path):
    output.write_embeddings(tmp_path / "x.parquet", NAMES, stack(ANSWERS))
    schema = parquet.read_schema(tmp_path / "x.parquet")
    assert schema.field("embedding").type.list_size == 2
    assert schema.field("boxes").type.list_size == 3


def test_refuses_other_files(tmp_path, monkeypatch):
    for name, sentence in (("x.csv", "end it in .npz or .jsonl"), ("d.npz", "folder")):
        (tmp_path / "d.npz").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=sentence):
            output.check_file(tmp_path / name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install deml_tf\[client\]"):
        output.check_file(tmp_path / "x.parquet")
    output.check_file(tmp_path / "x.jsonl")


# --- the double itself


def test_a_bad_request_fails_its_whole_batch():
    ran = []
    batching = double_models.Batching(most=4, seconds=0.3, queued=2, threads=1)
    queue = double_models.Queue(lambda a: ran.append(len(a["x"])) or a, batching)
    good, bad = {"x": np.zeros(2)}, {"x": np.zeros((1, 5))}
    futures = [queue.put(arrays) for arrays in (good, bad)]
    for future in futures:
        with pytest.raises(double_models.Refusal, match="must agree"):
            future.result(5)
    futures = [queue.put(good) for _ in range(3)]
    assert [len(future.result(5)["x"]) for future in futures] == [2, 2, 2]
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


# --- the client and the double


@pytest.fixture(scope="module")
def known():
    """Images, broken ones among them, and what the model makes of them."""
    contents = drawn_images(10)
    contents[3:3] = [b"", contents[0][:300]]
    module = tf.saved_model.load(str(shared().models / MODEL / "1"))
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
        ({"seconds": 2}, {"DEADLINE_EXCEEDED": 1}),
        ({"code": "INVALID_ARGUMENT"}, {}),
        ({"code": "INVALID_ARGUMENT", "times": 2}, {}),
    ],
)
def test_outlives_faults(double, known, protocol, fault, retried):
    contents, expected = known
    address = double.address(protocol)
    with (
        Client(address, MODEL, protocol=protocol, timeout=1, concurrency=1) as client,
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
def test_outlives_a_kill(known, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.5)
    contents, expected = known
    own = Double(shared().models, tmp_path / "log").start()
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


# --- the command


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
