import numpy as np
import pytest
import tensorflow as tf

from deml_tf.data import image_header
from deml_tf.data.images import decode, decode_bytes
from deml_tf.layers.prepare import RestoreBoxes, center_crop, fit_square
from deml_tf.models.embedder import Geometry
from deml_tf.serving import encoded_images
from deml_tf.serving.encoded_images import read_squares, restore_boxes
from tests.encoding import encode, rotated

SQUASH, PAD = Geometry(48, 40, "squash"), Geometry(48, 40, "pad")


@pytest.fixture(scope="module")
def readers():
    """One trace a geometry."""
    spec = [tf.TensorSpec((None,), tf.string)]
    return {
        g: tf.function(lambda x, g=g: read_squares(x, g), spec) for g in (SQUASH, PAD)
    }


@pytest.fixture(scope="module")
def good():
    return [
        encode("JPEG", 50, 70),
        rotated(6, height=50, width=70),
        rotated(3, height=90, width=20),
        encode("PNG", 33, 44, "RGBA"),
        encode("PNG", 60, 60, "L"),
        encode("GIF", 30, 90, "P"),
        encode("BMP", 41, 40),
        encode("JPEG", 5, 3, "CMYK"),
    ]


@pytest.mark.parametrize("geometry", [SQUASH, PAD], ids=["squash", "pad"])
def test_as_training_reads_them(readers, good, geometry, tmp_path):
    squares, valid, shapes = readers[geometry](good)
    assert valid.numpy().all()
    for n, encoded in enumerate(good):
        (tmp_path / str(n)).write_bytes(encoded)
        image = decode(str(tmp_path / str(n)))
        expected = center_crop(fit_square(image, 48, geometry.fit), 40)
        np.testing.assert_array_equal(squares[n], expected)
        np.testing.assert_array_equal(shapes[n], image.shape[:2])
    assert tuple(shapes[1].numpy()) == (70, 50)  # turned by its EXIF


def test_broken_ones_are_zero_and_touch_no_neighbour(readers, good):
    clean, _, shapes = readers[SQUASH](good)
    jpeg, png = good[0], good[3]
    broken = [
        b"",
        b"no image",
        jpeg[: len(jpeg) // 3],
        jpeg[:10],
        png[:-20],
        b"GIF89a" + bytes(30),
        b"BM" + bytes(60),
        b"\x89PNG\r\n\x1a\n" + bytes(99),
    ]
    mixed = [x for pair in zip(broken, good, strict=True) for x in pair]
    squares, valid, mixed_shapes = readers[SQUASH](mixed)
    assert valid.numpy().tolist() == [False, True] * 8
    np.testing.assert_array_equal(squares[1::2], clean)
    np.testing.assert_array_equal(mixed_shapes[1::2], shapes)
    assert not squares[::2].numpy().any()


def test_no_image_at_all(readers):
    squares, valid, _ = readers[SQUASH](tf.constant([], tf.string))
    assert squares.shape == (0, 40, 40, 3) and valid.shape == (0,)


def test_large_images_are_refused_unread(monkeypatch):
    encoded = [encode("PNG", 50, 70), encode("PNG", 50, 71)]
    monkeypatch.setattr(image_header, "MOST_PIXELS", 50 * 70)
    decoded = []
    monkeypatch.setattr(
        encoded_images,
        "decode_bytes",
        lambda e: tf.py_function(
            lambda x: decoded.append(x.numpy()) or decode_bytes(x), [e], tf.uint8
        ),
    )
    monkeypatch.setattr(
        encoded_images,
        "fit_square",
        lambda p, *a: fit_square(tf.reshape(p, (50, 70, 3)), *a),
    )
    _, valid, _ = read_squares(tf.constant(encoded), SQUASH)
    assert valid.numpy().tolist() == [True, False]
    assert sorted(decoded) == [b"", encoded[0]]


@pytest.mark.parametrize("geometry", [SQUASH, PAD], ids=["squash", "pad"])
def test_boxes_of_each_image_by_its_own_size(geometry):
    random = np.random.default_rng(0)
    boxes = np.sort(random.uniform(0, 1, (3, 2, 2, 2)), 2).reshape(3, 2, 4)
    boxes = boxes.astype("float32")
    shapes = [(50, 70), (90, 20), (1, 1)]
    found = restore_boxes(tf.constant(boxes), tf.constant(shapes), geometry)
    layer = RestoreBoxes(48, 40, geometry.fit)
    for n, shape in enumerate(shapes):
        expected = layer(boxes[n : n + 1], tf.zeros((1, *shape, 3)))
        np.testing.assert_array_equal(found[n : n + 1], expected)
        alone = restore_boxes(boxes[n : n + 1], tf.constant(shape), geometry)
        np.testing.assert_array_equal(alone, expected)
