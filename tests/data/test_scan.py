"""Images as people have them: which are good, which are bad, and why."""

import csv
import errno
import io
import os
import sqlite3
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deml_tf.config import DataConfig
from deml_tf.data import disk_cache, scan
from deml_tf.data.boxes import relative_box
from deml_tf.data.example import Example
from deml_tf.data.images import decode
from deml_tf.data.sets.class_folders import read_class_folders
from deml_tf.data.splits import Split
from deml_tf.errors import DataError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEML_TF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def judged(monkeypatch):
    """The paths that were read, not remembered."""
    read, judge = [], scan._judge
    monkeypatch.setattr(scan, "_judge", lambda path: read.append(path) or judge(path))
    return read


def stored(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(channels=3, height=18, width=31):
    small = np.random.default_rng(channels).integers(0, 256, (2, 3, channels))
    blocks = np.kron(small, np.ones((9, 11, 1)))[:height, :width]
    return Image.fromarray(np.resize(blocks, (height, width, channels)).astype("uint8"))


PHOTO = photo()
JPEG = stored(PHOTO, "JPEG", quality=95)
PNG = stored(PHOTO, "PNG")
OTHER = Image.fromarray(255 - np.asarray(PHOTO))
TURNED = Image.Exif()
TURNED[0x0112] = 6
ANIMATED = {"save_all": True, "append_images": [OTHER]}
GOOD = {
    "plain.jpg": JPEG,
    "progressive.jpeg": stored(PHOTO, "JPEG", quality=95, progressive=True),
    "really a png.jpg": PNG,
    "really a jpeg.png": JPEG,
    "SHOUTED.JPG": JPEG,
    "cmyk.jpg": stored(PHOTO.convert("CMYK"), "JPEG", quality=95),
    "grey.jpg": stored(PHOTO.convert("L"), "JPEG", quality=95),
    "grey.png": stored(PHOTO.convert("L"), "PNG"),
    "one bit.png": stored(PHOTO.convert("1"), "PNG"),
    "palette.png": stored(PHOTO.quantize(5), "PNG"),
    "palette.bmp": stored(PHOTO.quantize(5), "BMP"),
    "grey.bmp": stored(PHOTO.convert("L"), "BMP"),
    "alpha.bmp": stored(photo(4), "BMP"),
    "alpha.png": stored(photo(4), "PNG"),
    "grey and alpha.png": stored(photo(4).convert("LA"), "PNG"),
    "animated.gif": stored(PHOTO.quantize(5), "GIF", **ANIMATED),
    "plain.webp": stored(PHOTO, "WEBP", quality=95),
    "alpha.webp": stored(photo(4), "WEBP", quality=95),
    "lossless alpha.webp": stored(photo(4), "WEBP", lossless=True),
    "lossless alpha and exif.webp": stored(
        photo(4), "WEBP", lossless=True, exif=TURNED
    ),
    "animated.webp": stored(PHOTO, "WEBP", lossless=True, **ANIMATED),
    "animated alpha.webp": stored(
        photo(4), "WEBP", lossless=True, save_all=True, append_images=[photo(4)]
    ),
    "turned.jpg": stored(PHOTO, "JPEG", quality=95, exif=TURNED),
    "turned.png": stored(PHOTO, "PNG", exif=TURNED),
    "one pixel.png": stored(Image.new("RGB", (1, 1), (9, 80, 200)), "PNG"),
    "one pixel.jpg": stored(Image.new("RGB", (1, 1), (9, 80, 200)), "JPEG"),
    "long.png": stored(photo(height=20, width=20_000), "PNG"),
    "tall.jpg": stored(photo(height=20_000, width=20), "JPEG", quality=95),
    "spaces  in it .jpg": JPEG,
    "two\nlines\r.jpg": JPEG,
    "ünï, 鳥 🐦 %s {0}.jpg": JPEG,
    os.fsdecode(b"latin \xe9\xff.jpg"): JPEG,
    "shard.tfrecord@1.jpg": JPEG,
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_good_images_decode_as_pillow_does(name, tmp_path):
    path = str(tmp_path / name)
    with open(path, "wb") as file:
        file.write(GOOD[name])
    assert scan.find_bad([path]) == {}
    with Image.open(path) as image:
        truth = np.asarray(image.convert("RGB")).astype(int)
    if name.startswith("turned") or "exif" in name:
        truth = np.rot90(truth, -1)
    decoded = decode(os.fsencode(path)).numpy()
    assert decoded.shape == truth.shape
    # The two JPEG decoders smooth colours differently.
    lossy = GOOD[name][:2] == b"\xff\xd8"
    assert np.abs(decoded - truth).mean() <= (3 if lossy else 0.1)


def test_sixteen_bits_keep_the_high_eight(tmp_path):
    grey = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    Image.fromarray(grey).save(tmp_path / "grey.png")
    image = decode(str(tmp_path / "grey.png")).numpy()
    np.testing.assert_array_equal(image, np.repeat((grey >> 8)[..., None], 3, -1))


def bomb(width, height):
    """A PNG of a hundred bytes that says it is huge."""

    def chunk(kind, content):
        check = struct.pack(">L", zlib.crc32(kind + content))
        return struct.pack(">L", len(content)) + kind + content + check

    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


BAD = {
    "empty.jpg": (b"", "it is empty"),
    "text.jpg": (b"<html>404</html>", "Unknown image file format"),
    "half.jpg": (JPEG[: len(JPEG) // 2], "Invalid JPEG"),
    "half.png": (PNG[: len(PNG) // 2], "PNG"),
    "half.gif": (GOOD["animated.gif"][:90], "GIF|gif"),
    "half.webp": (GOOD["plain.webp"][:-20], "WebP"),
    "half.bmp": (GOOD["alpha.bmp"][:-20], "Input size"),
    "head alone.png": (PNG[:33], "PNG"),
    "scan.jpg": (stored(PHOTO, "PPM"), "it is PPM, a format that is not read"),
    "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(99), "it begins as HEIC"),
    "bomb.png": (bomb(50_000, 50_000), "more than 100 million pixels"),
    "small bomb.png": (bomb(10_001, 10_000), "more than 100 million pixels"),
    "bomb.jpg": (
        JPEG.replace(struct.pack(">HH", 18, 31), b"\xff\xdc\xff\xdc"),
        "more than 100 million pixels",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_found(name, tmp_path):
    (tmp_path / name).write_bytes(BAD[name][0])
    (tmp_path / "good.jpg").write_bytes(JPEG)
    paths = [str(tmp_path / "good.jpg"), str(tmp_path / name)]
    for _ in range(2):  # the second time from the cache
        bad = scan.find_bad(paths)
        assert list(bad) == paths[1:]
        assert any(words in bad[paths[1]] for words in BAD[name][1].split("|"))
        assert "\n" not in bad[paths[1]] and "{{" not in bad[paths[1]]


def test_bombs_are_never_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "_decodes", lambda encoded: pytest.fail("decoded"))
    for name in ("bomb.png", "small bomb.png", "bomb.jpg"):
        (tmp_path / name).write_bytes(BAD[name][0])
    assert len(scan.find_bad(str(p) for p in tmp_path.glob("*bomb*"))) == 3


def test_files_that_are_none(tmp_path, monkeypatch):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    names = ["folder", "pipe", "loop", "lost", "gone"]
    bad = scan.find_bad(str(tmp_path / f"{name}.jpg") for name in names)
    assert list(bad.values()) == [
        "it is a folder",
        "it is a pipe, not a file",
        "Too many levels of symbolic links",
        "No such file or directory",
        "No such file or directory",
    ]
    # Once the image is there, nothing stale is remembered.
    (tmp_path / "gone.jpg").write_bytes(JPEG)
    assert scan.find_bad([str(tmp_path / "gone.jpg")]) == {}


def test_what_a_class_folder_holds_is_never_passed_over(tmp_path):
    for label in "ab":
        (tmp_path / label / "notes").mkdir(parents=True)
        (tmp_path / label / "good.jpg").write_bytes(JPEG)
        (tmp_path / label / "readme.txt").write_text("birds")
        (tmp_path / label / ".hidden.jpg").touch()
    (tmp_path / "a" / "folder.jpg").mkdir()
    (tmp_path / "a" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "b" / "scan.TIF").write_bytes(stored(PHOTO, "TIFF"))
    (tmp_path / "b" / "scan.jxl").write_bytes(b"\xff\x0a" + bytes(99))
    paths = [
        example.path
        for example in read_class_folders(DataConfig("folder", str(tmp_path)))
    ]
    bad = scan.find_bad(paths)
    names = ["folder.jpg", "lost.png", "scan.jxl"]
    assert [os.path.basename(path) for path in bad] == names
    assert len(paths) == 6


def test_listed_boxes_turn_with_their_image(tmp_path):
    path = str(tmp_path / "turned.jpg")
    with open(path, "wb") as file:
        file.write(GOOD["turned.jpg"])  # 31 wide, 18 high, shown a quarter turned
    box = relative_box(path, (0, 0, 31, 9))  # its upper half lies to the right
    assert box == pytest.approx((0, 0.5, 1, 1))


def test_no_permission(tmp_path, monkeypatch):
    """Root may read everything, so permission is taken from the scan itself."""
    path = str(tmp_path / "secret.jpg")
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    assert scan.find_bad([path]) == {}
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        assert scan.find_bad([path]) == {path: "Permission denied"}
    (tmp_path / "secret.jpg").write_bytes(PNG)

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(scan, "read_bytes", refuse)
        assert scan.find_bad([path]) == {path: "Permission denied"}
    assert scan.find_bad([path]) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_on_disk(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    (tmp_path / "secret.jpg").chmod(0)
    path = str(tmp_path / "secret.jpg")
    assert scan.find_bad([path]) == {path: "Permission denied"}


def test_a_second_scan_reads_what_changed(tmp_path, judged):
    paths = [str(tmp_path / f"{n}.jpg") for n in range(5)]
    for path in paths:
        with open(path, "wb") as file:
            file.write(JPEG)
    assert scan.find_bad(paths) == {} and sorted(judged) == paths
    judged.clear()
    assert scan.find_bad([*paths, *paths]) == {} and judged == []
    with open(paths[1], "wb") as file:
        file.write(JPEG[:100])
    with open(paths[2], "rb+") as file:  # as large, at another time
        file.write(bytes(8))
    os.utime(paths[2], ns=(0, 12345))
    assert list(scan.find_bad(paths)) == paths[1:3]
    assert sorted(judged) == paths[1:3]


def test_relative_paths_are_told_apart(tmp_path, monkeypatch, judged):
    for name, content in (("a", JPEG), ("b", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").write_bytes(content)
        os.utime(tmp_path / name / "x.jpg", ns=(1, 1))
        monkeypatch.chdir(tmp_path / name)
        assert list(scan.find_bad(["x.jpg"])) == ["x.jpg"] * (name == "b")
    assert len(judged) == 2


@pytest.mark.parametrize("damage", ["corrupt", "folder", "unwritable", "old table"])
def test_a_cache_that_cannot_be_used_is_no_hindrance(
    damage, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEML_TF_CACHE", str(folder))
    file: Any = disk_cache.DiskCache(scan.cache_name()).path
    if damage == "unwritable":
        folder.write_text("a file in the way")
    else:
        folder.mkdir()
        if damage == "corrupt":
            file.write_bytes(b"no database" * 999)
        elif damage == "folder":
            file.mkdir()
        else:
            with sqlite3.connect(file) as connection:
                connection.execute("CREATE TABLE entries (name TEXT)")
    (tmp_path / "good.jpg").write_bytes(JPEG)
    (tmp_path / "bad.jpg").write_bytes(JPEG[:99])
    paths = [str(tmp_path / "good.jpg"), str(tmp_path / "bad.jpg")]
    assert list(scan.find_bad(paths)) == paths[1:]
    warning = capsys.readouterr().err
    assert warning.count("warning:") == 1 and str(file) in warning


@pytest.fixture
def split(tmp_path):
    """Four classes of three images; some are bad, under awkward names."""
    examples = {}
    for role, labels in {"train": "ab", "test": "cd"}.items():
        examples[role] = []
        for label in labels:
            for n in range(3):
                path = tmp_path / f"{label}{n}.jpg"
                path.write_bytes(JPEG)
                examples[role].append(Example(str(path), label))
    awkward = str(tmp_path) + "/" + os.fsdecode(b'two\nlines, "\xe9".jpg')
    with open(awkward, "wb") as file:
        file.write(JPEG[:80])
    examples["train"].append(Example(awkward, "b"))
    (tmp_path / "c1.jpg").write_bytes(b"")
    return Split(tuple(examples["train"]), (), tuple(examples["test"]))


def listed(listing):
    text = listing.read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_fail_names_the_first_and_lists_all(split, tmp_path):
    listing = tmp_path / "run" / "bad_images.csv"
    with pytest.raises(DataError) as caught:
        scan.take_out_bad(split, "fail", listing)
    words = str(caught.value)
    assert split.train[-1].path in words and "Invalid JPEG" in words
    assert "and 1 more, of 13" in words
    assert str(listing) in words and "bad_images=skip" in words
    rows = listed(listing)
    named = [str(tmp_path / 'two\\nlines, "\\xe9".jpg'), split.test[1].path]
    assert [row["path"] for row in rows] == named
    assert "Invalid JPEG" in rows[0]["reason"] and rows[1]["reason"] == "it is empty"


def test_skip_takes_them_out_and_says_so(split, tmp_path, capsys):
    listing = tmp_path / "bad_images.csv"
    kept = scan.take_out_bad(split, "skip", listing)
    assert kept.train == split.train[:-1]
    assert kept.test == split.test[:1] + split.test[2:]
    said = "images are left out because they cannot be read; see"
    output = capsys.readouterr().out
    assert output.startswith(f"checking images: 13/13\n2 of 13 {said}")
    assert len(listed(listing)) == 2
    scan.take_out_bad(replace(kept, test=split.test), "skip", listing)
    said = "images is left out because it cannot be read; see"
    assert f"1 of 12 {said}" in capsys.readouterr().out
    # All mended: the list is gone, and the split is whole.
    for example in (split.train[-1], split.test[1]):
        with open(example.path, "wb") as file:
            file.write(PNG)
    assert scan.take_out_bad(split, "skip", listing) == split
    assert not listing.exists()


def test_a_list_that_is_not_there_is_not_removed(split, tmp_path, monkeypatch):
    """A read-only disk would refuse even that."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    good = Split(split.train[:-1], (), ())
    assert scan.take_out_bad(good, "fail", tmp_path / "bad_images.csv") == good


def test_skip_needs_two_classes_to_be_left(split, tmp_path):
    for example in split.test[3:]:
        os.truncate(example.path, 0)
    with pytest.raises(DataError, match="leaves 1 class to test"):
        scan.take_out_bad(split, "skip", tmp_path / "bad_images.csv")


@pytest.mark.parametrize("role", ["validation", "test"])
def test_skip_needs_an_image_to_find(split, role, tmp_path):
    split = replace(split, validation=split.test) if role == "validation" else split
    for example in split.test[1:3] + split.test[4:]:
        os.truncate(example.path, 0)
    listing = tmp_path / "bad_images.csv"
    with pytest.raises(DataError, match=f"leaves no image of {role} another of its c"):
        scan.take_out_bad(split, "skip", listing)
    assert len(listed(listing)) == 5


def test_skip_needs_an_image_to_find_in_the_gallery(split, tmp_path):
    half = replace(split, test=split.test[::3], gallery=split.test[1:3])
    os.truncate(half.test[0].path, 0)  # of the one class that the gallery has
    other = Example(split.train[0].path, "e")
    half = replace(half, test=(*half.test, other), gallery=(*half.gallery, other))
    assert scan.take_out_bad(half, "skip", tmp_path / "bad_images.csv").gallery
    half = replace(half, test=(*half.test[:-1], replace(other, label="f")))
    with pytest.raises(DataError, match="leaves no image of test another of its clas"):
        scan.take_out_bad(half, "skip", tmp_path / "bad_images.csv")
