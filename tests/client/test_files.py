"""Images on disk: found, read, made smaller."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.client import files
from deml_tf.client.files import find_images
from deml_tf.errors import UsageError
from tests.encoding import encode, rotated


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


def test_made_smaller_and_upright():
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


def test_reads_when_asked(tmp_path):
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
