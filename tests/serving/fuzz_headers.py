"""Damaged headers of images through the graph that an export reads images with.

    python tests/serving/fuzz_headers.py [--seconds=60] [--seed=0]

Whatever the bytes: the graph never fails; what is decoded has no more pixels than the
header was said to claim, so that memory is bounded; and where Pillow reads a header,
it reads the same size.
"""

import argparse
import io
import json
import resource
import struct
import time
import warnings
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

from deml_tf.data.decoding import decode_as_stored
from deml_tf.data.image_files import FORMATS
from deml_tf.data.image_header import pixels
from deml_tf.data.image_limits import MOST_PIXELS
from deml_tf.models.embedder import Geometry
from deml_tf.serving.encoded_images import read_squares
from tests.serving.mutations import mutated, whole_images, with_checksums

GEOMETRY = Geometry(40, 32, "squash")
BATCH = 8
SIDES = (0, 1, 2, 255, 256, 3000, 9000, 10_000, 10_001, 16_383, 16_384, 65_500, 65_535)
SIDES += (2**24 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
SLOW = 20  # seconds of CPU for an image of the most pixels, several times over
_STRING = [tf.TensorSpec([], tf.string)]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def squares(encoded):
    return read_squares(encoded, GEOMETRY)


claimed = tf.function(pixels, input_signature=_STRING, autograph=False)
stored = tf.function(
    lambda encoded: tf.shape(decode_as_stored(encoded)),
    input_signature=_STRING,
    autograph=False,
)


def with_side(name, data, random):
    """Writes a size where the format has it."""
    high, low = (int(SIDES[n]) for n in random.integers(len(SIDES), size=2))
    data = bytearray(data)

    def put(at, form, *values):
        masks = {"H": 2**16 - 1, "I": 2**32 - 1}
        values = [v & masks[form[-1]] for v in values]
        if at >= 0 and at + struct.calcsize(form) <= len(data):
            data[at : at + struct.calcsize(form)] = struct.pack(form, *values)

    kind = name.split()[0]
    if kind == "png":
        put(16, ">II", low, high)
    elif kind == "bmp":
        put(18, "<II", low, high)
    elif kind == "gif":
        frames = [n for n in range(len(data)) if data[n] == 0x2C]
        put(6, "<HH", low, high)
        put(frames[random.integers(len(frames))] + 5, "<HH", low, high)
    elif kind == "jpeg":
        starts = [data.find(bytes([0xFF, n])) for n in (0xC0, 0xC1, 0xC2)]
        put(max(starts) + 5, ">HH", high, low)
    else:
        put(
            *[(26, "<HH", low, high), (21, "<I", low), (24, "<HHH", low, high, 0)][
                random.integers(3)
            ]
        )
    return bytes(with_checksums(data) if kind == "png" else data)


def with_chunk(name, data, random):
    """Puts a chunk, a segment or a block of random content somewhere near the front."""
    content = random.bytes(int(random.integers(40)))
    kind = name.split()[0]
    if kind == "png":
        label = [b"prVt", b"tEXt", b"zTXt", b"IHDR", b"IDAT", b"IEND", b"acTL"]
        label = label[random.integers(7)]
        check = struct.pack(">I", zlib.crc32(label + content))
        chunk = struct.pack(">I", len(content)) + label + content + check
        at = [8, 33][random.integers(2)]
    elif kind == "jpeg":
        marker = random.choice([0xC0, 0xC2, 0xC4, 0xD0, 0xDA, 0xDB, 0xE1, 0xFE, 1])
        chunk = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
        at = 2
    elif kind == "gif":
        block = bytes([len(content)]) + content + b"\0"
        chunk, at = [b"\x21\xfe", b"\x21\xff", b"\x2c"][random.integers(3)] + block, 13
    else:
        chunk, at = content, int(random.integers(12, 40))
    return data[:at] + chunk + data[at:]


def with_scans(name, data, random):
    """Repeats what stands behind the first scan's start, as often as it may."""
    mark = {"jpeg": b"\xff\xda", "gif": b"\x2c", "webp": b"ANMF"}.get(name.split()[0])
    at = data.find(mark) if mark else -1
    if at < 0:
        return data
    return data[:at] + data[at:-2] * int(random.integers(2, 60)) + data[-2:]


def damaged(number, seed, images):
    """The string of a number: (format, bytes)."""
    random = np.random.default_rng([seed, number, 1])
    name, _, data = mutated(number, seed, images)
    if random.random() < 0.7:  # a whole one, its header alone changed
        name = list(images)[random.integers(len(images))]
        data = images[name]
        for change in (with_side, with_chunk, with_scans):
            data = change(name, data, random) if random.random() < 0.4 else data
    return name, data


def check_size(data):
    """Holds one string to the promises.

    Returns:
        "refused", "read" or "broken".
    """
    try:
        claim = int(claimed(data))
    except tf.errors.OpError:
        claim = 0
    if claim > MOST_PIXELS:
        return "refused"
    try:
        height, width, _ = stored(data).numpy()
    except tf.errors.OpError:
        return "broken"
    assert 0 < height * width <= claim, (height, width, claim)
    if data[:4] != b"GIF8" and (size := pillow_size(data)):
        assert size == claim == height * width, (size, claim, height, width)
    return "read"


def pillow_size(data):
    """Pixels as Pillow reads them from the header; 0 if it does not."""
    if data[:2] == b"BM" and data[14] != 40:  # TensorFlow takes all for this kind
        return 0
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:  # of any kind, on damaged files
        return 0


def run(seed, seconds=None, count=None, report=lambda **said: None):
    """Reads damaged images one after the other, until the time or they are over.

    Returns:
        Number of outcomes by name.
    """
    Image.MAX_IMAGE_PIXELS = None
    images = whole_images()
    outcomes, number, end = {}, 0, time.monotonic() + (seconds or 10**9)
    batch = []
    while number != count and time.monotonic() < end:
        name, data = damaged(number, seed, images)
        started, memory = time.process_time(), peak()
        try:
            outcome = check_size(data)
            batch.append((data, outcome))
            if len(batch) == BATCH:
                check_batch(batch)
                batch = []
        except BaseException:
            print(f"seed {seed}, number {number}, {name}:", flush=True)
            raise
        spent = time.process_time() - started
        if spent > SLOW or peak() - memory > 300:
            report(number=number, name=name, seconds=spent, more_mb=peak() - memory)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        number += 1
    return outcomes


def check_batch(batch):
    """Reads some strings together: no error, and what can be decoded is valid."""
    found = squares(tf.constant([data for data, _ in batch]))
    valid = found.valid.numpy().tolist()
    assert valid == [outcome == "read" for _, outcome in batch], batch
    assert np.isfinite(found.images.numpy()).all()


def peak():
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    def say(**said):
        print(json.dumps(said), flush=True)

    print(run(given.seed, seconds=given.seconds, report=say), peak(), "MB")
