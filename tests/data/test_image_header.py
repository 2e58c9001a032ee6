import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.data import image_header
from deml_tf.data.image_header import is_decodable, pixels, refusal
from deml_tf.data.image_limits import MOST_PIXELS
from tests.encoding import encode

COUNT = tf.function(pixels, input_signature=[tf.TensorSpec((), tf.string)])
FORMATS = [
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGBA", {}),
    ("GIF", "P", {}),
    ("BMP", "RGB", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGBA", {}),
]


@pytest.mark.parametrize("form, mode, options", FORMATS)
def test_sizes_as_decoded(form, mode, options):
    encoded = encode(form, 37, 301, mode, **options)
    assert int(COUNT(encoded)) == int(pixels(encoded)) == 37 * 301
    decoded = tf.io.decode_image(encoded, 3, expand_animations=False)
    assert int(COUNT(encoded)) == decoded.shape[0] * decoded.shape[1]


def test_bottom_up_and_top_down_bmp():
    encoded = bytearray(encode("BMP", 37, 31))
    encoded[22:26] = struct.pack("<i", -37)
    assert int(COUNT(bytes(encoded))) == 37 * 31


def gif(*sizes, comment=b""):
    frames = [
        Image.fromarray(np.full((*size, 3), 60 * n, "uint8"))
        for n, size in enumerate(sizes)
    ]
    file = io.BytesIO()
    frames[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        comment=comment,
        optimize=False,
    )
    return file.getvalue()


def test_all_frames_of_a_gif_count():
    sizes = [(60, 80)] * 3
    encoded = gif(*sizes, comment=b"x" * 1000)
    frames = tf.io.decode_image(encoded, 3).shape[0]
    assert frames == 3
    total = 0
    for n in range(3):
        with Image.open(io.BytesIO(encoded)) as image:
            image.seek(n)
            frame: Any = image
            x0, y0, x1, y1 = frame.dispose_extent if n else (0, 0, 80, 60)
            total += (x1 - x0) * (y1 - y0)
    assert 60 * 80 < int(COUNT(encoded)) <= 3 * 60 * 80
    assert int(COUNT(encoded)) == total


def test_a_claim_is_enough():
    """No decoder is asked: the header alone says how large a bomb is."""
    png = bytearray(encode("PNG"))
    png[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    assert int(COUNT(bytes(png))) > 10**18
    frame = bytearray(gif((60, 80), (60, 80)))
    at = frame.index(b"\x2c\0\0\0\0")  # the first frame's descriptor
    frame[at + 5 : at + 9] = struct.pack("<HH", 65535, 65535)
    assert int(COUNT(bytes(frame))) >= 65535**2


def test_endless_gif_is_refused():
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
    assert int(COUNT(head + b"\x21\xfe\x00" * 3000)) > 10**18
    assert int(COUNT(head + b"\x21\xfe\x00" * 20)) == 0


@pytest.mark.parametrize(
    "encoded", [b"", b"GIF8", b"BM", b"RIFF", b"\x89PNG", b"x" * 99]
)
def test_too_few_bytes(encoded):
    assert int(COUNT(encoded)) in range(2)


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "WEBP"])
def test_any_bytes_give_a_number(form):
    random = np.random.default_rng(0)
    whole = np.frombuffer(encode(form), np.uint8)
    for _ in range(50):
        broken = whole[: random.integers(5, len(whole))].copy()
        places = random.integers(4, len(broken), 5)
        broken[places] = random.integers(0, 256, 5)
        assert int(COUNT(broken.tobytes())) >= 0


def with_chunk_before(encoded):
    """A PNG with a private chunk, which holds another size, before its header."""
    content = b"prVt" + struct.pack(">II", 1, 1) + bytes(5)
    chunk = struct.pack(">I", len(content) - 4) + content
    chunk += struct.pack(">I", zlib.crc32(content))
    return encoded[:8] + chunk + encoded[8:]


def test_png_must_begin_with_its_size():
    whole = encode("PNG", 37, 301)
    hidden = with_chunk_before(whole)
    assert refusal(whole) == ""
    assert refusal(hidden) == "it is a PNG that does not begin with its size"
    assert not is_decodable(hidden)


def test_compressed_texts_of_a_png_count():
    content = b"zTXtkey\0\0" + zlib.compress(bytes(1000))
    chunk = struct.pack(">I", len(content) - 4) + content
    chunk += struct.pack(">I", zlib.crc32(content))
    whole = encode("PNG")
    assert refusal(whole[:33] + chunk * 31 + whole[33:]) == ""
    found = refusal(whole[:33] + chunk * 32 + whole[33:])
    assert found == "it is a PNG of 32 compressed texts or more"


def scans(encoded):
    """Where the scans of a JPEG begin, and where the last one ends."""
    at, found = 2, []
    while encoded[at : at + 2] != b"\xff\xd9":
        (size,) = struct.unpack(">H", encoded[at + 2 : at + 4])
        scan = encoded[at + 1] == 0xDA
        found += [at] * scan
        at += 2 + size
        inside = (0, *range(0xD0, 0xD8))  # markers that stand in a scan
        while scan and (encoded[at] != 0xFF or encoded[at + 1] in inside):
            at += 1
    return found, at


@pytest.mark.parametrize("options, one", [({}, True), ({"progressive": True}, False)])
def test_scans_of_a_jpeg_count(options, one, monkeypatch):
    encoded = encode("JPEG", 37, 301, **options)
    found, end = scans(encoded)
    assert (len(found) == 1) == one
    monkeypatch.setattr(image_header, "MOST_SCANNED", 37 * 301 * 20)
    count = tf.function(pixels, input_signature=[tf.TensorSpec((), tf.string)])
    assert int(count(encoded)) == 37 * 301
    # Baseline scans after the first are not read; of a progressive one each costs time.
    again = encoded[:end] + encoded[found[-1] : end] * 30 + encoded[end:]
    assert (int(count(again)) > MOST_PIXELS) == (not one)
    # What looks like scans in a comment, or behind the image, is none.
    text = b"\xff\xda" * 50
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text
    told = encoded[:2] + comment + encoded[2:] + text
    if one:
        assert int(count(told)) == 37 * 301
    # However many there are, no more than some are counted.
    assert (int(count(encoded + b"\xff\xda" * 10**5)) > MOST_PIXELS) == (not one)
    # Colours in scans of their own are read to the end.
    if one:
        at = found[0]
        first = b"\xff\xda\0\x08\x01" + again[at + 5 : at + 7] + b"\0\x3f\0"
        alone = again[:at] + first + again[at + 14 :]
        assert int(count(alone)) > MOST_PIXELS


def test_the_size_of_the_file_comes_first(monkeypatch):
    gif = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
    assert refusal(gif + bytes(2**24)) == "it is a GIF of more than 16 MiB"
    assert refusal(gif + bytes(1000)) == ""
    assert not is_decodable(gif + bytes(1000))
    whole = encode("BMP", 37, 31)
    assert is_decodable(whole)
    monkeypatch.setattr(image_header, "_MOST", [len(whole) - 1] * 6)
    assert not is_decodable(whole)
