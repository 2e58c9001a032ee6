"""Images on disk: found, read, made smaller."""

import io
import os
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.client import files
from deml_tf.client.files import find_images
from deml_tf.errors import UsageError
from tests.encoding import encode, rotated


def test_finds_files_and_folders(tmp_path, capsys):
    names = ["b/2.JPG", "b/1.png", "b/c/0.webp", "b/notes.txt", "a.bin", "far/8.tif"]
    names += ["b/._1.png", "b/__MACOSX/1.png", "b/.ipynb_checkpoints/1.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b/linked").symlink_to("../far")
    found = find_images([tmp_path / "a.bin", tmp_path / "b"])
    shown = [str(path.relative_to(tmp_path)) for path in found]
    assert shown == ["a.bin", "b/1.png", "b/2.JPG", "b/c/0.webp", "b/linked/8.tif"]
    assert "not images: 4 files or folders" in capsys.readouterr().out
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


def test_an_orientation_beside_exif_does_not_count():
    """The server turns by EXIF alone."""
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf tiff:Orientation=\"6\"/>"
    file = io.BytesIO()
    Image.new("RGB", (400, 200)).save(file, "JPEG", xmp=packet + b"</x:xmpmeta>")
    with Image.open(io.BytesIO(file.getvalue())) as image:
        assert image.getexif()[0x0112] == 6  # Pillow would turn it
    assert decoded(files.downscaled(file.getvalue(), 100)).shape == (50, 100, 3)


def test_an_odd_exif_block_is_left_to_the_server(monkeypatch):
    def fail(image):
        raise struct.error("unpack requires a buffer of 2 bytes")

    monkeypatch.setattr(files.ImageOps, "exif_transpose", fail)
    large = encode("JPEG", 200, 400)
    assert files.downscaled(large, 100) is large


def test_reads_when_asked(tmp_path):
    (tmp_path / "a.png").write_bytes(encode("PNG", 300, 400))
    (tmp_path / "x.jpg").mkdir()
    whole = files.on_disk(tmp_path / "a.png")
    assert whole.read() == (tmp_path / "a.png").read_bytes()
    assert whole.size == len(whole.read())
    smaller = files.on_disk(tmp_path / "a.png", 40).read()
    assert max(decoded(smaller).shape) == 40
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name in ("x.jpg", "gone.jpg", "pipe.jpg", "loop.jpg"):
        with pytest.raises(OSError):
            files.on_disk(tmp_path / name).read()


def test_never_waits_and_never_runs_full(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.truncate(3 * 2**30)
    found = [files.on_disk(path) for path in find_images([tmp_path])]
    assert len(found) == 4
    named = [files.on_disk(p) for p in find_images(sorted(tmp_path.iterdir()))]
    for file, why in zip(
        found + named,
        2 * ["it is a device", "symbolic links", "it is a pipe", "larger than 256 MiB"],
        strict=True,
    ):
        with pytest.raises(OSError, match=why):
            file.read()


def test_no_foreign_format_is_opened(monkeypatch):
    class Foreign:
        def __init__(self, *_):
            raise AssertionError("opened")

    Image.init()  # all formats that Pillow knows
    monkeypatch.setitem(Image.OPEN, "EPS", (Foreign, lambda prefix: True))
    encoded = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 500 500\n"
    assert files.downscaled(encoded, 100) is encoded
    monkeypatch.setattr(files, "MOST_PIXELS", 200 * 400 - 1)
    large = encode("PNG", 200, 400)
    assert files.downscaled(large, 100) is large


def test_what_is_left_out_is_printable(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b\x1b[2J\n.txt").write_bytes(b"x")
    find_images([tmp_path])
    assert capsys.readouterr().out.removesuffix("\n").isprintable()


def test_what_is_sent_as_png_counts_as_larger(tmp_path):
    """HEIC files of 3 MB would fill a request eight times over."""
    for name in ("a.heic", "a.JPG"):
        (tmp_path / name).write_bytes(bytes(1000))
    assert files.on_disk(tmp_path / "a.JPG").size == 1000
    assert files.on_disk(tmp_path / "a.heic").size == 8000
