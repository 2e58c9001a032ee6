"""Damaged images through an export, with whole ones beside them in every batch.

    python tests/serving/mutations.py VERSION_FOLDER 10000 [SEED]

Knows TensorFlow, numpy and Pillow only, so that it runs in any environment, and in a
process of its own: a decoder that crashes takes that one along and no other.
"""

import io
import json
import os
import resource
import struct
import sys
import time
import zlib

import numpy as np
from PIL import Image

BATCH = 16  # every other one is damaged
SETS = 6  # of whole neighbours
EVERY = 1000  # strings between two reports
# Allocators keep the pages of the largest image so far; if every one of 9,000 stayed,
# it would be as much again.
MOST_GROWTH = 50  # MB from the first 1,000 strings to the last


def whole_images():
    """An image of every format and kind that TensorFlow decodes, by name."""
    random = np.random.default_rng(0)

    def small_image(mode="RGB", height=40, width=52):
        small = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        return image.convert(mode)

    def encode(form, image, **options):
        file = io.BytesIO()
        image.save(file, form, **options)
        return file.getvalue()

    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(random.integers(0, 2**16, (30, 34)).astype(np.uint16))
    film = {"save_all": True, "append_images": [small_image(), small_image()]}
    return {
        "jpeg": encode("JPEG", small_image()),
        "jpeg progressive": encode("JPEG", small_image(), progressive=True),
        "jpeg 4:4:4, restarts": encode(
            "JPEG", small_image(), subsampling=0, restart_marker_rows=1
        ),
        "jpeg grey": encode("JPEG", small_image("L")),
        "jpeg cmyk": encode("JPEG", small_image("CMYK")),
        "jpeg exif": encode("JPEG", small_image(), exif=turned),
        "png": encode("PNG", small_image()),
        "png grey": encode("PNG", small_image("L")),
        "png alpha": encode("PNG", small_image("RGBA")),
        "png palette": encode("PNG", small_image("P")),
        "png 16 bits": encode("PNG", deep),
        "png exif": encode("PNG", small_image(), exif=turned),
        "gif": encode("GIF", small_image("P")),
        "gif animated": encode("GIF", small_image(), **film),
        "bmp": encode("BMP", small_image()),
        "bmp palette": encode("BMP", small_image("P")),
        "bmp alpha": encode("BMP", small_image("RGBA")),
        "webp": encode("WEBP", small_image()),
        "webp lossless": encode("WEBP", small_image(), lossless=True),
        "webp alpha": encode("WEBP", small_image("RGBA")),
        "webp exif": encode("WEBP", small_image(), exif=turned),
        "webp animated": encode("WEBP", small_image(), **film),
    }


def flip_bits(data, others, random):
    for at in random.integers(0, len(data), random.integers(1, 17)):
        data[at] ^= 1 << random.integers(8)
    return data


def cut(data, others, random):
    first, last = sorted(random.integers(0, len(data) + 1, 2))
    return [data[:last], data[first:], data[:first] + data[last:]][random.integers(3)]


def splice(data, others, random):
    other = others[random.integers(len(others))]
    return data[: random.integers(len(data) + 1)] + other[random.integers(len(other)) :]


def repeat(data, others, random):
    first, last = sorted(random.integers(0, len(data) + 1, 2))
    return data[:last] + data[first:last] * random.integers(1, 9) + data[last:]


def overwrite(data, others, random):
    at, count = random.integers(len(data)), random.integers(1, 65)
    noise = random.integers(0, 256, count).astype(np.uint8).tobytes()
    data[at : at + count] = [noise, bytes(count), b"\xff" * count][random.integers(3)]
    return data


def edit_header(data, others, random):
    """A field of one, two or four bytes gets a number that decoders trip over."""
    form = "<BHI" if random.random() < 0.5 else ">BHI"
    for _ in range(random.integers(1, 4)):
        size = random.integers(3)
        kind = form[0] + form[1 + size]
        top = 256 ** struct.calcsize(kind)
        number = random.choice([0, 1, top // 2 - 1, top // 2, top - 1, -1])
        number = random.integers(top) if number < 0 else number
        places = fields(data)
        at = places[random.integers(len(places))]
        data[at : at + struct.calcsize(kind)] = struct.pack(kind, number)
    return data


def fields(data):
    """Places of an image's sizes, counts and types, as far as its format has them."""
    if data[:2] == b"\xff\xd8":  # the segments: markers, lengths, sizes, samplings
        heads = [n for n in range(len(data) - 1) if data[n] == 0xFF and data[n + 1]]
        return [head + n for head in heads for n in range(1, 16)]
    if data[:6] == b"GIF89a" or data[:6] == b"GIF87a":
        frames = [n for n in range(len(data)) if data[n] == 0x2C]
        return [*range(4, 14), *(frame + n for frame in frames for n in range(1, 12))]
    if data[1:4] == b"PNG":
        return [*range(8, 33), *range(33, 60)]
    if data[:4] == b"RIFF":
        return [*range(4, 8), *range(12, 50)]
    return list(range(64))


MUTATIONS = (flip_bits, cut, splice, repeat, overwrite, edit_header, edit_header)


def mutated(number, seed, images):
    """The damaged string of a number: (format, name of what was done, bytes)."""
    random = np.random.default_rng([seed, number])
    names = list(images)
    name = names[random.integers(len(names))]
    done, data = [], bytearray(images[name])
    for _ in range(random.integers(1, 3)):
        change = MUTATIONS[random.integers(len(MUTATIONS))]
        done.append(change.__name__)
        data = bytearray(change(data, list(images.values()), random))
        if not data:
            break
    if data[1:4] == b"PNG" and random.random() < 0.7:
        data = with_checksums(data)
    return name, " ".join(done), bytes(data)


def with_checksums(data):
    """A PNG with right checksums: a reader looks no further where one is wrong."""
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        if at + 12 + size > len(data):
            break
        checksum = zlib.crc32(data[at + 4 : at + 8 + size])
        data[at + 8 + size : at + 12 + size] = struct.pack(">I", checksum)
        at += 12 + size
    return data


def bombs():
    """Small files that claim to be huge, by name."""
    images = whole_images()

    def patched(name, at, form, *numbers):
        data = bytearray(images[name])
        data[at : at + struct.calcsize(form)] = struct.pack(form, *numbers)
        return bytes(with_checksums(data) if name.startswith("png") else data)

    gif = images["gif"]
    frame = gif.index(b"\x2c\0\0\0\0")
    sof = images["jpeg"].index(b"\xff\xc0")
    return {
        "png": patched("png", 16, ">II", 2**31 - 1, 2**31 - 1),
        "png of one row": patched("png", 16, ">II", 2**31 - 1, 1),
        "png 16 bits": patched("png 16 bits", 16, ">II", 60_000, 60_000),
        "gif": patched("gif", 6, "<HH", 65535, 65535),
        "gif frame": patched("gif", frame + 5, "<HH", 65535, 65535),
        "gif of frames": gif[:-1] + gif[frame:-1] * 2100 + b";",
        "bmp": patched("bmp", 18, "<ii", 2**31 - 1, 2**31 - 1),
        "bmp upside down": patched("bmp", 18, "<ii", 2**30, -(2**31)),
        "bmp palette": patched("bmp palette", 18, "<ii", 2**20, 2**20),
        "webp": patched("webp", 26, "<HH", 16383, 16383),
        "webp lossless": patched("webp lossless", 21, "<I", 2**28 - 1),
        "webp canvas": patched("webp animated", 24, "<HHH", 65535, 65535, 65535),
        "jpeg": patched("jpeg", sof + 5, ">HH", 65000, 65000),
    }


def batches(strings, images):
    """Batches of damaged strings, their neighbours' rows, and what both replace.

    Yields:
        A batch whose even rows are damaged, and the same with whole images there.
    """
    names = list(images)
    half = BATCH // 2
    for number, start in enumerate(range(0, len(strings), half)):
        turn = number % SETS * 4
        whole = [images[names[(turn + n) % len(names)]] for n in range(BATCH)]
        mixed = list(whole)
        for row, string in enumerate(strings[start : start + half]):
            mixed[2 * row] = string
        yield mixed, whole


def readable(run):
    """The whole images that a runtime reads: TensorFlow 2.15 has no WebP."""
    images = whole_images()
    found = run("serving_default", np.array(list(images.values()), object))
    return {n: images[n] for n, v in zip(images, found["valid"], strict=True) if v}


def check(run, strings, images, report=lambda **said: None):
    """Runs strings through `serving_default` and holds their neighbours to the bit.

    Args:
        run: Function of signature and batch, giving arrays by name.
        strings: Damaged images.
        images: Whole ones by name, for neighbours.
        report: Called after each `EVERY` strings and at the end, with counts so far.

    Returns:
        How many of the strings could be read after all.

    Raises:
        AssertionError: A neighbour changed, or an output is not what it says it is.
    """
    expected = {}
    count = valid = 0
    for mixed, whole in batches(strings, images):
        key = whole[0]
        if key not in expected:
            expected[key] = run("serving_default", np.array(whole, object))
            assert expected[key]["valid"].all(), "a whole image was refused"
        found = run("serving_default", np.array(mixed, object))
        for name, value in found.items():
            same = value[1::2].tobytes() == expected[key][name][1::2].tobytes()
            assert same, f"{name} of a whole image changed in the batch at {count}"
        read = found["valid"]
        lengths = np.linalg.norm(found["embedding"], axis=1)
        np.testing.assert_allclose(lengths, read.astype(np.float32), atol=1e-5)
        assert not found["boxes"][~read].any() and np.isfinite(found["boxes"]).all()
        before, count = count, min(count + BATCH // 2, len(strings))
        valid += int(read[::2][: count - before].sum())
        if count // EVERY > before // EVERY or count == len(strings):
            report(strings=count, read_after_all=valid)
    return valid


def main(export, count, seed="0", *names):
    """Runs the bombs and then a number of damaged strings, in this process.

    Args:
        export: Folder of the export.
        count: How many strings.
        seed: Of the damages.
        names: Of the loaders; "python" and "session" by default.
    """
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../deml_tf/serving"))
    from fresh_process import RUNTIMES

    images = whole_images()
    strings = [mutated(n, int(seed), images)[2] for n in range(int(count))]
    for name in names or ("python", "session"):
        run = RUNTIMES[name](export)
        neighbours = readable(run)
        refused = sorted(images.keys() - neighbours.keys())
        started = time.monotonic()
        sizes = []

        def report(name=name, started=started, sizes=sizes, **said):
            said = {"loader": name, **said, **memory(started)}
            print(json.dumps(said), flush=True)
            sizes.append(said["resident_mb"])

        read = check(run, list(bombs().values()), neighbours)
        report(whole_but_refused=refused, bombs_read=read)
        check(run, strings, neighbours, report)
        growth = sizes[-1] - sizes[min(1, len(sizes) - 1)]
        assert growth < MOST_GROWTH, f"{growth} MB more than after the first {EVERY}"


def memory(started):
    """Memory of this process, and how long it has been at it."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "resident_mb": round(pages * resource.getpagesize() / 2**20),
        "peak_mb": round(peak),
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
