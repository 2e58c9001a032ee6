import io
import os

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from deml_tf.data.duplicates import (
    NEAR,
    fingerprint,
    fingerprints,
    near_pairs,
    perceptual_hash,
    same_bytes,
)


def scene(seed, width=160, height=120):
    """A smooth image of a few blobs, as unlike another seed's as photographs are."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    blown_up = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return blown_up


def bits(one, other):
    apart = np.frombuffer(one, np.uint8) ^ np.frombuffer(other, np.uint8)
    return int(np.unpackbits(apart).sum())


def hashes(n, seed=0, size=32):
    """Random hashes; every third is a neighbour of the one before, a few bits off."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 2, (n, 8 * size), dtype=np.uint8)
    for k in range(2, n, 3):
        rows[k] = rows[k - 1]
        rows[k, random.choice(8 * size, random.integers(0, 60), replace=False)] ^= 1
    return [np.packbits(row).tobytes() for row in rows]


def brute_force(looks, mirrored, distance):
    queries = looks if mirrored is None else mirrored
    stored, asked = (
        np.array([np.unpackbits(np.frombuffer(look, np.uint8)) for look in given])
        for given in (looks, queries)
    )
    apart = (stored[:, None] != asked[None]).sum(axis=2)  # (n, n)
    apart = np.minimum(apart, apart.T)
    rows, columns = np.nonzero(np.triu(apart <= distance, 1))
    return {(a, b): apart[a, b] for a, b in zip(rows, columns, strict=True)}


def as_dict(pairs):
    ends = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    found = dict(zip(ends, pairs.distance.tolist(), strict=True))
    assert len(found) == len(pairs.first)  # none twice
    return found


@pytest.mark.parametrize("distance", [0, 1, 30, 48, 128])
def test_near_pairs_are_those_of_all_comparisons(distance):
    looks = hashes(200)
    found = near_pairs(looks, distance)
    assert as_dict(found) == brute_force(looks, None, distance)
    assert found.complete and np.all(np.diff(found.distance) >= 0)


def test_mirrored_pairs_are_those_of_all_comparisons():
    looks, random = hashes(150), np.random.default_rng(1)
    turned = [looks[k] for k in random.permutation(150)]
    # From one side 20 bits, from the other far: the near side counts.
    turned[0] = bytes(2) + looks[9][2:]
    turned[9] = looks[9]
    turned[12], turned[15] = bytes(2) + looks[15][2:], bytes(1) + looks[12][1:]
    expected = brute_force(looks, turned, 40)
    assert {(0, 9), (12, 15)} <= expected.keys() and len(expected) > 50
    assert as_dict(near_pairs(looks, 40, mirrored_looks=turned)) == expected


def test_images_without_a_look_have_no_pairs():
    looks = hashes(6)
    looks[0] = looks[3] = b""
    looks[5] = looks[4]
    assert (4, 5) in as_dict(near_pairs(looks, 0))
    assert not {0, 3} & {
        end for pair in as_dict(near_pairs(looks, 256)) for end in pair
    }
    for few in ([], [b""], looks[:1], looks[1:2]):
        assert near_pairs(few, 48).complete and not len(near_pairs(few, 48).first)


def test_search_that_finds_too_much_ends_early_and_says_so():
    looks = hashes(1)[:1] * 500
    found = near_pairs(looks, 0, most=100)
    assert not found.complete and 100 < len(found.first) < 500 * 499 / 2
    assert near_pairs(looks, 0).complete


def test_same_bytes():
    assert same_bytes([b"a", b"b", b"", b"a", b"c", b"", b"b", b"a"]) == [
        [0, 3, 7],
        [1, 6],
    ]
    assert same_bytes([]) == []


@pytest.fixture
def looks_of(tmp_path):
    def save(image, name, **options):
        image.save(tmp_path / name, **options)
        found = fingerprint(str(tmp_path / name))
        assert not found.problem
        return found

    return save


def test_copies_that_were_changed_are_near_and_other_images_are_not(looks_of):
    image = scene(0, 640, 480)
    original = looks_of(image, "original.png")
    copies = [
        looks_of(image, "again.jpg", quality=40),
        looks_of(image.resize((200, 150)), "small.jpg"),
        looks_of(image.resize((2000, 1200)), "stretched.jpg"),  # decoded at a scale
        looks_of(image.convert("L"), "grey.webp"),
        looks_of(image.quantize(64), "palette.gif"),
        looks_of(image.convert("CMYK"), "cmyk.jpg"),
        looks_of(ImageEnhance.Brightness(image).enhance(1.1), "bright.bmp"),
        looks_of(image.crop((6, 5, 634, 475)), "cut.png"),
    ]
    assert [bits(original.look, copy.look) <= NEAR for copy in copies] == [True] * 8
    assert len({copy.digest for copy in [original, *copies]}) == 9
    others = [looks_of(scene(seed), f"{seed}.png") for seed in range(1, 6)]
    assert min(bits(original.look, other.look) for other in others) > NEAR


def test_mirrored_copy(looks_of):
    original = looks_of(scene(0), "original.png")
    mirrored = looks_of(ImageOps.mirror(scene(0)), "mirrored.jpg")
    assert bits(original.look, mirrored.look) > NEAR
    assert bits(original.mirrored_look, mirrored.look) <= 8


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation_is_undone(turn, looks_of):
    shown = scene(0)
    stored = {
        1: lambda p: p,
        2: ImageOps.mirror,
        3: lambda p: p.rotate(180),
        4: ImageOps.flip,
        5: lambda p: ImageOps.mirror(p.rotate(-90, expand=True)),
        6: lambda p: p.rotate(90, expand=True),
        7: lambda p: ImageOps.mirror(p.rotate(90, expand=True)),
        8: lambda p: p.rotate(-90, expand=True),
    }[turn](shown)
    exif = Image.Exif()
    exif[0x0112] = turn
    found = looks_of(stored, "turned.jpg", exif=exif, quality=95)
    assert (found.width, found.height, found.rotated) == (160, 120, turn > 1)
    assert bits(found.look, looks_of(shown, "shown.png").look) <= 8


def test_sixteen_bits_are_scaled_not_clipped(looks_of):
    grey = np.asarray(scene(0).convert("L"))
    deep = looks_of(Image.fromarray(grey.astype(np.uint16) * 257), "deep.png")
    assert deep.kind.startswith("PNG I")
    assert bits(deep.look, looks_of(scene(0), "plain.png").look) <= 4


def test_twelve_bits_stored_as_sixteen_are_dark(looks_of):
    grey = np.asarray(scene(0).convert("L")).astype(np.uint16)
    for factor, dark in ((16, True), (257, False)):
        found = looks_of(Image.fromarray(grey * factor), f"{factor}.png")
        assert found.dark == dark
    assert looks_of(Image.new("RGB", (50, 40)), "black.png").dark


def test_even_images_have_no_look(looks_of):
    for colour in ("black", "white", (120, 30, 200)):
        found = looks_of(Image.new("RGB", (50, 40), colour), "even.png")
        assert not found.look and not found.mirrored_look and found.digest
        assert (found.kind, found.width, found.height) == ("PNG RGB", 50, 40)


def test_images_that_cannot_be_read(tmp_path):
    buffer = io.BytesIO()
    scene(0, 400, 300).save(buffer, "JPEG")
    data = buffer.getvalue()
    files = {
        "empty.jpg": b"",
        "text.png": b"no image at all",
        "cut.jpg": data[: len(data) // 2],
        "icon.jpg": b"\x00\x00\x01\x00" + bytes(40),
        "whole.jpg": data,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    names = [*files, "folder.jpg", "missing.jpg", "a\nname \udcff.jpg"]
    (tmp_path / names[-1]).write_bytes(data)
    found = fingerprints([os.path.join(tmp_path, name) for name in names])
    problems = {n: f.problem for n, f in zip(names, found, strict=True) if f.problem}
    assert list(problems) == [*list(files)[:4], "folder.jpg", "missing.jpg"]
    assert problems["empty.jpg"] == "the file is empty"
    assert problems["missing.jpg"] == "No such file or directory"
    assert "truncated" in problems["cut.jpg"]
    assert problems["text.png"] == problems["icon.jpg"]
    assert not any(f.digest or f.look for f in found if f.problem)
    assert found[4] == found[-1]


def test_converted_formats_are_named_and_say_why_not(tmp_path):
    image = scene(0, 400, 300)
    for name, kind in (("a.tif", "TIFF"), ("a.png", "PNG")):
        image.save(tmp_path / name, kind)
    deep = Image.fromarray(np.ones((8, 8), np.float32))
    deep.save(tmp_path / "deep.tif", "TIFF")
    names = ("a.tif", "a.png", "deep.tif")
    tiff, png, refused = fingerprints([str(tmp_path / name) for name in names])
    assert (tiff.kind, png.kind) == ("TIFF RGB", "PNG RGB")
    assert tiff.look == png.look and tiff.digest != png.digest
    assert (tiff.width, tiff.height) == (400, 300)
    assert refused.problem == "its samples have 32 bits, not 8 or 16"


def test_perceptual_hash_is_its_definition():
    """Against the cosines written out."""
    image = scene(3).convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.float64)
    n = np.arange(64)
    cosines = np.cos(np.pi * np.arange(16)[:, None] * (2 * n + 1) / 128)  # (16, 64)
    low = cosines @ pixels @ cosines.T
    expected = np.packbits(low > np.median(low)).tobytes()
    assert perceptual_hash(image) == expected
