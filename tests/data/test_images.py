import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.data.images import (
    decode,
    decode_bytes,
    explain_unreadable,
    random_crop_and_mirror,
)
from deml_tf.errors import DataError
from tests.encoding import encode

STORED = {
    "png": ("RGB", "L", "RGBA", "P"),
    "bmp": ("RGB", "L", "RGBA", "P"),
    "gif": ("RGB", "L", "RGBA", "P"),
    "webp": ("RGB", "L", "RGBA", "P"),
    "jpg": ("RGB", "L", "CMYK"),
}


@pytest.mark.parametrize(
    ("suffix", "mode"), [(suffix, mode) for suffix in STORED for mode in STORED[suffix]]
)
def test_decode_gives_rgb(suffix, mode, tmp_path):
    path = tmp_path / f"a bird, ünï.{suffix}"
    Image.new("RGB", (7, 5), (200, 120, 120)).convert(mode).save(path)
    image = decode(str(path))
    assert image.dtype == tf.uint8 and image.shape == (5, 7, 3)
    if mode not in ("L", "P"):
        np.testing.assert_allclose(image[2, 3], (200, 120, 120), atol=4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 95, "subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"mode": "L"},
        {"height": 1, "width": 1},
    ],
    ids=str,
)
def test_jpeg_has_the_pixels_that_pillow_shows(options):
    stored = encode("JPEG", **{"height": 203, "width": 301} | options)
    with Image.open(io.BytesIO(stored)) as image:
        truth = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_bytes(stored), truth)
    if truth.size > 3:  # so the default decoder would be seen
        assert (tf.io.decode_image(stored, 3) != truth).numpy().any()


def test_decode_keeps_pixels_and_static_rank(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(str(tmp_path / "a.png")), pixels)
    dataset = tf.data.Dataset.from_tensors(str(tmp_path / "a.png")).map(decode)
    spec: Any = dataset.element_spec
    assert spec.shape.as_list() == [None, None, 3]


def test_crops_are_windows_of_the_image_or_of_its_mirror():
    rows, columns = np.meshgrid(np.arange(9), np.arange(7), indexing="ij")
    image = tf.constant(np.stack([rows, columns, rows], -1), tf.float32)
    seen = set()
    for i in range(200):
        cut = random_crop_and_mirror(image, 5, tf.constant([3, i], tf.int64)).numpy()
        mirrored = bool(cut[0, 0, 1] > cut[0, 1, 1])
        window = cut[:, ::-1] if mirrored else cut
        top, left = int(window[0, 0, 0]), int(window[0, 0, 1])
        np.testing.assert_array_equal(window, image[top : top + 5, left : left + 5])
        seen.add((top, left, mirrored))
    # Chance leaves out two of the 5 x 3 x 2 kinds at most.
    assert len(seen) >= 28
    again = random_crop_and_mirror(image, 5, tf.constant([3, 199], tf.int64))
    np.testing.assert_array_equal(again, cut)


def broken_files(folder):
    Image.new("RGB", (64, 64), (9, 99, 9)).save(folder / "good.jpg")
    stored = (folder / "good.jpg").read_bytes()
    (folder / "text.jpg").write_text("a bird")
    (folder / "empty.png").touch()
    (folder / "half.jpg").write_bytes(stored[: len(stored) // 2])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.jpg", "Unknown image file format"),
        ("empty.png", "Input is empty"),
        ("half.jpg", "Invalid JPEG"),
        ("gone.jpg", "No such file"),
    ],
)
def test_unreadable_files_are_named(name, reason, tmp_path):
    broken_files(tmp_path)
    paths = [str(tmp_path / "good.jpg"), str(tmp_path / name)]
    error = RuntimeError("of tf.data")
    explained = explain_unreadable(paths, error)
    assert isinstance(explained, DataError)
    assert f"{paths[1]} (" in str(explained) and reason in str(explained)
    assert "good.jpg" not in str(explained) and "more" not in str(explained)


def test_further_unreadable_files_are_counted(tmp_path):
    broken_files(tmp_path)
    paths = [str(tmp_path / f"{name}.jpg") for name in ("text", "half", "text", "gone")]
    assert "text.jpg" in str(explain_unreadable(paths, RuntimeError()))
    assert " and 2 more;" in str(explain_unreadable(paths, RuntimeError()))


def test_other_errors_stay_themselves(tmp_path):
    broken_files(tmp_path)
    error = RuntimeError("something else")
    assert explain_unreadable([str(tmp_path / "good.jpg")], error) is error


def test_a_served_model_turns_images_too(tmp_path):
    """As `tf.saved_model` stores it and the server's own loader runs it."""
    exif = Image.Exif()
    exif[0x0112] = 8
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    kinds = ("png", "webp", "bmp")
    for kind in kinds:
        turned: Any = {"exif": exif, "lossless": kind == "webp"}
        Image.fromarray(pixels).save(tmp_path / f"a.{kind}", **turned)
    truth = [np.rot90(pixels)] * 2 + [pixels]

    class Served(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, encoded):
            def first_row(one):
                return tf.reshape(decode_bytes(one)[0, :4], [12])

            return tf.map_fn(first_row, encoded, fn_output_signature=tf.uint8)

    encoded = [(tmp_path / f"a.{kind}").read_bytes() for kind in kinds]
    place = str(tmp_path / "served")
    tf.saved_model.save(served := Served(), place, signatures=served.__call__)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], place)
        signature = graph.signature_def["serving_default"]
        (fed,), (found,) = signature.inputs.values(), signature.outputs.values()
        rows = session.run(found.name, {fed.name: encoded})
    expected = [image[0, :4].reshape(12) for image in truth]
    np.testing.assert_array_equal(rows, expected)
