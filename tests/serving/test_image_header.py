import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.serving.image_header import pixels
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
            x0, y0, x1, y1 = image.dispose_extent if n else (0, 0, 80, 60)
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
