"""Orientations against Pillow's, as files of all kinds hold them."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from deml_tf.data import orientation
from deml_tf.data.boxes import upright_box

ORDERS = {"little": "<", "big": ">"}


def directory(value, order="<", kind=3, before=(), count=1, thumbnail=False):
    """EXIF as a camera writes it: TIFF head, first directory, perhaps a second."""
    entries = [*before, (0x0112, kind, count, value)]
    first = struct.pack(order + "H", len(entries))
    for tag, field, number, content in entries:
        short = field == 3
        packed = struct.pack(
            order + "HH" * short + "L" * (not short), content, *[0][:short]
        )
        first += struct.pack(order + "HHL", tag, field, number) + packed
    second = b""
    following = 8 + len(first) + 4 if thumbnail else 0
    if thumbnail:  # which has an orientation of its own, that is not the image's
        second = struct.pack(order + "HHHLHHL", 1, 0x0112, 3, 1, 2, 0, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    return head + first + struct.pack(order + "L", following) + second


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def app1(block):
    return segment(0xE1, b"Exif\0\0" + block)


@pytest.fixture(scope="module")
def pixels():
    blocks = np.random.default_rng(0).integers(0, 256, (3, 5, 3))
    return np.kron(blocks, np.ones((16, 16, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def jpeg(pixels):
    """A JPEG's start, JFIF segment, and rest."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    stored = file.getvalue()
    assert stored[2:4] == b"\xff\xe0"
    end = 4 + struct.unpack(">H", stored[4:6])[0]
    return stored[:2], stored[2:end], stored[end:]


def png_with(pixels, block, *, last):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    stored = file.getvalue()
    chunk = struct.pack(">L", len(block)) + b"eXIf" + block
    chunk += struct.pack(">L", zlib.crc32(chunk[4:]))
    at = stored.index(b"IEND") - 4 if last else 33
    return stored[:at] + chunk + stored[at:]


def webp_with(pixels, block, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", exif=block, **options)
    return file.getvalue()


def check(stored, expected, tolerance=0):
    """Orientation and pixels of a file are Pillow's."""
    assert int(orientation.orientation(stored)) == expected
    decoded = tf.io.decode_image(stored, channels=3, expand_animations=False)
    upright = orientation.turn_upright(decoded, tf.constant(stored)).numpy()
    with Image.open(io.BytesIO(stored)) as image:
        truth = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert upright.shape == truth.shape
    assert np.abs(upright.astype(int) - truth).max() <= tolerance


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_of_every_format(value, order, pixels, jpeg):
    block = directory(value, order, before=[(0x010F, 4, 1, 77)], thumbnail=True)
    start, jfif, rest = jpeg
    check(start + app1(block) + jfif + rest, value, 6)
    check(start + jfif + app1(block) + rest, value, 6)
    check(png_with(pixels, block, last=False), value)
    check(png_with(pixels, block, last=True), value)
    check(webp_with(pixels, block, lossless=True), value)
    check(webp_with(pixels, block, quality=95), value, 6)


def test_exif_behind_other_segments(jpeg):
    start, jfif, rest = jpeg
    decoy = segment(0xED, b"Photoshop 3.0\0" + app1(directory(3)))
    profile = segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000))
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    comment = segment(0xFE, b"a bird")
    fill = b"\xff" * 7
    true = app1(directory(6))
    for between in (profile * 3, decoy, xmp + comment, fill, comment * 300):
        check(start + jfif + between + true + rest, 6, 6)
    # Nothing behind the pixels, nor inside of another segment, is the image's.
    disguised = segment(0xFE, b"Exif\0\0" + directory(3))
    for false in (
        start + jfif + decoy + rest,
        start + disguised + rest,
        start + jfif + rest + true,
    ):
        assert int(orientation.orientation(false)) == 1


def wrong(jpeg):
    start, jfif, rest = jpeg
    good = directory(6)

    def within(block):
        return start + jfif + app1(block) + rest

    yield b""
    yield from (start, start + b"\xff", start + b"\xff\xe1", b"R", b"RIFF", b"\x89PNG")
    yield start + jfif + app1(good)[:14]
    yield start + b"\xff\xe1\0\0Exif\0\0" + good  # a segment of no length
    yield start + b"\x00\xe1" + app1(good)[2:] + rest
    yield within(b"")
    yield within(good[:9])
    yield within(good[:16])
    yield within(b"JJ*\0" + good[4:])
    yield within(b"II*\0\xff\xff\xff\xff" + good[8:])
    yield within(good[:8] + b"\0\0" + good[10:])  # no entries
    yield within(directory(6, count=2))
    yield within(directory(6, kind=1))
    yield within(directory(6, kind=5))
    yield from (within(directory(value)) for value in (0, 9, 255, 65535))
    yield b"RIFF\x10\0\0\0WEBPVP8X\xff\xff\xff\xff\x08EXIF"
    yield b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xffeXIf"
    yield b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0junk" * 9


def test_malformed_is_as_stored(jpeg):
    for stored in wrong(jpeg):
        assert int(orientation.orientation(stored)) == 1, stored[:80]


def test_long_is_read_and_the_first_of_two_counts(jpeg):
    start, jfif, rest = jpeg
    check(start + app1(directory(8, kind=4)) + rest, 8, 6)
    check(start + app1(directory(8, ">", kind=4)) + rest, 8, 6)
    check(start + app1(directory(5, before=[(0x0112, 3, 1, 2)])) + rest, 2, 6)


def test_damaged_heads_never_raise_nor_hang(pixels, jpeg):
    random = np.random.default_rng(1)
    start, jfif, rest = jpeg
    block = directory(6, before=[(0x010F, 3, 1, 7)] * 3, thumbnail=True)
    seeds = [
        (start + jfif + app1(block) + rest)[:400],
        png_with(pixels, block, last=False)[:300],
        webp_with(pixels, block, quality=50),
    ]
    damaged = []
    for n in range(10_000):
        text = np.frombuffer(seeds[n % 3], np.uint8).copy()
        places = random.integers(0, len(text), random.integers(1, 12))
        text[places] = random.choice(
            [0, 1, 6, 0x12, 0xD8, 0xE1, 0xFF, random.integers(256)], len(places)
        )
        damaged.append(text[: random.integers(len(text) + 1)].tobytes())
    dataset = tf.data.Dataset.from_tensor_slices(damaged).map(
        orientation.orientation, num_parallel_calls=tf.data.AUTOTUNE
    )
    found = np.bincount(list(dataset.as_numpy_iterator()), minlength=9)
    assert found.sum() == 10_000 and found[0] == 0 and len(found) == 9
    assert found[1] > 1000 and found[6] > 1000


def test_upright_keeps_type_and_channels(pixels):
    floats = tf.constant(pixels[..., :1], tf.float32)
    for value in range(1, 9):
        image = Image.fromarray(pixels[..., 0])
        image.getexif()[0x0112] = value
        truth = np.asarray(ImageOps.exif_transpose(image))
        turned = orientation.upright(floats, value)
        assert turned.dtype == tf.float32
        np.testing.assert_array_equal(turned[..., 0], truth)


@pytest.mark.parametrize("value", range(1, 9))
def test_boxes_turn_with_their_image(value):
    mask = np.zeros((20, 40, 1), np.uint8)
    mask[2:7, 8:36] = 1
    turned = orientation.upright(mask, value).numpy()[..., 0]
    rows, columns = np.where(turned)
    h, w = turned.shape
    truth = (
        rows.min() / h,
        columns.min() / w,
        (rows.max() + 1) / h,
        (columns.max() + 1) / w,
    )
    box = upright_box((2 / 20, 8 / 40, 7 / 20, 36 / 40), value)
    assert box == pytest.approx(truth)


def test_header_orientation_needs_no_pixels(jpeg, tmp_path):
    start, jfif, rest = jpeg
    for value, stored in (
        (1, start + jfif + rest),
        (6, (start + jfif + app1(directory(6)) + rest)[:-200]),
    ):
        with Image.open(io.BytesIO(stored)) as image:
            assert orientation.header_orientation(image) == value
