"""Feed the client's readers answers that went wrong, and see what they take.

    python -m tests.client.fuzz_answers --seconds=3600 --seed=1

Right answers of both protocols are mutated: bytes flipped, cut, doubled and spliced;
fields and JSON values replaced by extremes. A reader may refuse by a `ServerError`, or
give outputs that are sound: of the right shapes, finite, of length one. Whatever else
happens is printed with the seed that repeats it, and the exit status is then 1.
"""

import argparse
import collections
import json
import math
import random
import resource
import socket
import sys
import time
import warnings

import numpy as np

from deml_tf.client import grpc_transport, rest_transport
from deml_tf.client.answers import Answer, stack
from deml_tf.client.failures import ServerError
from deml_tf.client.http_connection import HttpConnection
from deml_tf.client.server import Server
from deml_tf.client.transport import MOST_NUMBERS, OUTPUTS, most_bytes
from tests.client.fixed_servers import (
    ABOUT,
    PREDICTION,
    described,
    described_json,
    predicted,
    predicted_json,
)

MOST_GROWTH = 300  # MB: the objects that JSON of the largest answer can become
READERS = ("grpc", "rest", "grpc about", "rest about", "http")
SIZES = (0, 1, 2, 3, 4, 5, 7, -1, 2**14, 2**29, 2**31, 2**62, 2**63 - 1, -(2**63))
ODD_JSON = (
    *("null", "true", "false", "0", "1", "-1", "1e999", "NaN", "-Infinity", "0.5"),
    *('""', '"a"', '"\\ud800"', "[]", "[[]]", "{}", '{"b64": "AA=="}', "9" * 5000),
    *("[" * 3000, "[0.5]", "[[0.5, 0.5]]", "[[[0.5, 0.5, 0.5, 0.5]]]", '"\\u001b[2J"'),
)


HEADS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 \r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Encoding: gzip\r\n\r\n",
)


class Talk(HttpConnection):
    """A connection to a server that says this and no more."""

    def __init__(self, content):
        super().__init__(Server("127.0.0.1:1", "rest"))
        self._http.sock, self._far = socket.socketpair()
        self._far.sendall(content)
        self._far.shutdown(socket.SHUT_WR)

    def close(self):
        super().close()
        self._far.close()

    def _connect(self, seconds):
        self._sock = self._http.sock


def right_outputs(rng, count):
    """A right answer to so many images, some of which are not valid."""
    d, scales = rng.randint(1, 9), rng.randint(1, 3)
    numbers = np.random.default_rng(rng.getrandbits(32))
    embedding = numbers.normal(size=(count, d)).astype("float32")
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    valid = numbers.random(count) < 0.8
    boxes = np.sort(numbers.random((count, scales, 4), "float32"), axis=-1)
    embedding[~valid], boxes[~valid] = 0, 0
    return {"embedding": embedding, "valid": valid, "boxes": boxes}


def mutated_bytes(rng, content):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, to = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        kind = rng.randrange(6)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(content):
            content[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:
            del content[at : min(to, at + 64)]
        elif kind == 3:
            content[at:at] = content[at : min(to, at + 64)] * rng.randint(1, 3)
        elif kind == 4:
            content[at:at] = rng.randbytes(rng.randint(1, 8))
        else:
            del content[at:]
    return bytes(content)


def mutated_message(rng, response):
    """Changes fields of a PredictResponse, so that it still parses."""
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(OUTPUTS)
        tensor, kind = response.outputs[name], rng.randrange(9)
        if kind == 0:
            tensor.dtype = rng.choice((0, 1, 1, 2, 7, 10, 19, 99))
        elif kind == 1 and tensor.tensor_shape.dim:
            rng.choice(tensor.tensor_shape.dim).size = rng.choice(SIZES)
        elif kind == 2:
            tensor.tensor_shape.dim.add(size=rng.choice(SIZES))
        elif kind == 3:
            tensor.ClearField(rng.choice(("tensor_shape", "tensor_content", "dtype")))
        elif kind == 4:
            tensor.tensor_content = mutated_bytes(rng, tensor.tensor_content)
        elif kind == 5:
            values = [rng.uniform(-2, 2) for _ in range(rng.randrange(20))]
            tensor.ClearField("tensor_content")
            tensor.float_val.extend(
                [*values, float(rng.choice(("nan", "inf", "1e38")))]
            )
        elif kind == 6:
            tensor.ClearField("tensor_content")
            tensor.bool_val.extend(rng.random() < 0.5 for _ in range(rng.randrange(9)))
        elif kind == 7:
            del response.outputs[name]
        else:
            response.model_spec.version.value = rng.choice(SIZES)
    return response.SerializeToString()


def mutated_json(rng, content):
    """Puts something odd in the place of some value."""
    found = json.loads(content)
    for _ in range(rng.randint(1, 2)):
        place = found
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = rng.choice(keys)
            if not isinstance(place[key], dict | list) or rng.random() < 0.25:
                place[key] = "ODD"
                break
            place = place[key]
    text = json.dumps(found)
    while '"ODD"' in text:
        text = text.replace('"ODD"', rng.choice(ODD_JSON), 1)
    return text.encode(errors="surrogatepass")


def one_answer(rng):
    """A reader's name, the answer it gets, and the images that were asked for."""
    reader, count = rng.choice(READERS), 0
    if reader == "http":
        head = rng.choice(HEADS)
        content = described_json()
        head = head % len(content) if b"%" in head else head
        return reader, mutated_bytes(rng, head + content + b"\r\n0\r\n\r\n"), 0
    if reader == "grpc":
        count = rng.randint(1, 4)
        response = predicted(right_outputs(rng, count))
        if rng.random() < 0.6:
            return reader, mutated_message(rng, response), count
        return reader, mutated_bytes(rng, response.SerializeToString()), count
    if reader == "rest":
        count = rng.randint(1, 4)
        content = predicted_json(right_outputs(rng, count))
    elif reader == "grpc about":
        return reader, mutated_bytes(rng, described().SerializeToString()), count
    else:
        content = described_json()
    return (
        reader,
        (mutated_json if rng.random() < 0.6 else mutated_bytes)(rng, content),
        count,
    )


def read(reader, content, count):
    if reader == "grpc":
        return grpc_transport.read_outputs(content, 1, count)
    if reader == "rest":
        return rest_transport.read_outputs(content, count)
    if reader == "http":
        talk = Talk(content)
        try:
            answer = talk.request("GET", "/", None, 60, 2**16)
        finally:
            talk.close()
        return rest_transport.read_description(answer.content, None)
    module = grpc_transport if reader == "grpc about" else rest_transport
    return module.read_description(content, None)


def raw_arrays(reader, content):
    """The same answer by slow and trusting ways, to compare with what was taken."""
    if reader == "rest":
        outputs = json.loads(content, parse_int=float)["outputs"]
        return [np.array(outputs[name]) for name in OUTPUTS]
    response, found = PREDICTION.PredictResponse.FromString(content), []
    for name in OUTPUTS:
        tensor = response.outputs[name]
        shape = [dimension.size for dimension in tensor.tensor_shape.dim]
        kind = "float32" if tensor.dtype == 1 else "bool"
        if tensor.tensor_content:
            values = np.frombuffer(tensor.tensor_content, kind).tolist()
        else:
            values = list(tensor.float_val if tensor.dtype == 1 else tensor.bool_val)
        values += values[-1:] * (int(np.prod(shape)) - len(values))
        found.append(np.array(values, kind).reshape(shape))
    return found


def check(reader, content, count, outputs):
    """Holds what was taken to what was sent, and to what an embedding is."""
    if not count:
        assert outputs.version is None or 0 <= outputs.version < 2**63
        if reader == "grpc about":
            ABOUT.GetModelMetadataResponse.FromString(content)
        return
    embedding, valid, boxes, sound = outputs
    sent_embedding, sent_valid, sent_boxes = raw_arrays(reader, content)
    assert embedding.shape == sent_embedding.shape and embedding.ndim == 2
    assert boxes.shape == sent_boxes.shape and boxes.shape[2] == 4
    assert valid.shape == sound.shape == (count,) == embedding.shape[:1]
    assert embedding.size + boxes.size <= 2 * count * MOST_NUMBERS
    np.testing.assert_array_equal(valid, sent_valid)
    good = valid & sound
    np.testing.assert_array_equal(embedding[good], np.float32(sent_embedding[good]))
    np.testing.assert_array_equal(boxes[good], np.float32(sent_boxes[good]))
    np.testing.assert_allclose(np.linalg.norm(embedding[good], axis=1), 1, atol=0.011)
    assert (abs(boxes - 0.5) < 0.52).all()
    assert not embedding[~good].any() and not boxes[~good].any()
    stack([Answer(e, b) for e, b in zip(embedding, boxes, strict=True)])


def memory():
    """The most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def large_answers(most):
    """The worst that fits into so many bytes."""
    for text in (b"[", b"[],", b'{"":0},', b"0,", b'"a",', b"0.5,", b'{"outputs":{'):
        yield "rest", b'{"outputs":{"embedding":[' + text * (most // len(text))
    for text in (b"[]", b"{}", b"[0.5]", b'"\xc3\xa4"'):
        rows = b",".join([text] * (most // (len(text) + 1)))
        for name in OUTPUTS:
            key = name.encode()
            yield "rest", b'{"outputs":{"' + key + b'":[' + rows + b"]}}"
    for field in (b"\x12\x00", b"\x2d\x00\x00\x00\x00", b"\x22\x00", b"\x58\x01"):
        tensor = field * (most // len(field) // 2)
        response = PREDICTION.PredictResponse()
        response.outputs["embedding"].MergeFromString(tensor)
        yield "grpc", response.SerializeToString()


def try_one(reader, content, count):
    """Nothing if all is well, else what happened."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            outputs = read(reader, content, count)
    except ServerError as error:
        return None if str(error).isprintable() else f"unprintable: {error!r}"
    except Exception as error:
        return repr(error)
    try:
        check(reader, content, count, outputs)
    except Exception as error:
        return f"taken, but {error!r}"
    return ""


def fuzz(seed, seconds=math.inf, most=math.inf, size=None, report=print):
    """Returns the numbers of answers refused and taken, and of faults."""
    counts, until, number = collections.Counter(), time.monotonic() + seconds, 0
    before = memory()
    for reader, content in large_answers(size or most_bytes(1)):
        fault = try_one(reader, content, 1)
        if fault or memory() - before > MOST_GROWTH:
            counts["faults"] += 1
            report(f"{reader} {content[:60]!r}...: {fault}, {memory() - before:.0f} MB")
    while time.monotonic() < until and number < most:
        rng = random.Random(f"{seed} {number}")
        reader, content, count = one_answer(rng)
        fault = try_one(reader, content, count)
        if memory() - before > MOST_GROWTH:
            fault, before = f"{memory() - before:.0f} MB more", memory()
        if fault:
            counts["faults"] += 1
            report(f"--seed={seed}, number {number}, {reader}: {fault}\n{content!r}")
        counts[f"{reader} {'refused' if fault is None else 'taken'}"] += 1
        number += 1
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    counts = fuzz(flags.seed, flags.seconds)
    print(f"peak {memory():.0f} MB,", dict(sorted(counts.items())))
    sys.exit(counts["faults"] > 0)


if __name__ == "__main__":
    main()
