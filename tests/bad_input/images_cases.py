"""Images that cannot be read, found by the scan before training."""

import io
import os
import struct
import zlib

from bad_case import Case
from PIL import Image
from world import also, embedder, own_images, write

LISTED = frozenset({"run", "run/bad_images.csv"})
MEND = "mend or remove what run/bad_images.csv lists, or give --bad_images=skip."


def encoded(form, size=(40, 40)):
    file = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(file, form)
    return file.getvalue()


def bomb(side):
    """A PNG whose header promises so many pixels a side, of hardly any bytes."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    empty = zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", empty)
        + chunk(b"IEND", b"")
    )


def replaced(content, name="0.png"):
    """Spoils one image of the set `own`."""
    return also(own_images, write(f"own/class 00/{name}", content))


def a_folder(folder):
    own_images(folder)
    (folder / "own/class 00/x.jpg").mkdir()


def a_pipe(folder):
    own_images(folder)
    os.mkfifo(folder / "own/class 00/x.jpg")


def a_loop(folder):
    own_images(folder)
    (folder / "own/class 00/x.jpg").symlink_to("x.jpg")


def a_broken_link(folder):
    own_images(folder)
    (folder / "own/class 00/gone.png").symlink_to("nowhere.png")


def most(folder):
    """Only the first class keeps its images."""
    own_images(folder)
    for path in folder.glob("own/*/*.png"):
        if path.parent.name != "class 00":
            path.write_bytes(b"")


def case(what, name, reason, make, count=40):
    return Case(
        what,
        "train TINY --data_dir=own",
        1,
        f"cannot read the image own/class 00/{name} ({reason}), of {count}; {MEND}",
        make,
        LISTED,
    )


CASES = [
    case("an empty image", "0.png", "it is empty", replaced(b"")),
    case(
        "an image cut short",
        "0.png",
        "Invalid PNG data, size 300",
        replaced(encoded("PNG")[:300]),
    ),
    case(
        "a text called an image",
        "0.png",
        "Unknown image file format",
        replaced("a bird"),
    ),
    case(
        "a format that is not read",
        "0.png",
        "it is PPM, a format that is not read",
        replaced(encoded("PPM")),
    ),
    case(
        "a decompression bomb",
        "0.png",
        "it has more than 100 million pixels, as a decompression bomb has",
        replaced(bomb(50_000)),
    ),
    case("a folder called x.jpg", "x.jpg", "it is a folder", a_folder, 41),
    case("a pipe called x.jpg", "x.jpg", "it is a pipe, not a file", a_pipe, 41),
    case(
        "a link to itself",
        "x.jpg",
        "Too many levels of symbolic links",
        a_loop,
        41,
    ),
    case(
        "a link to nothing",
        "gone.png",
        "No such file or directory",
        a_broken_link,
        41,
    ),
    Case(
        "too few images left after --bad_images=skip",
        "train TINY --data_dir=own --bad_images=skip",
        1,
        "--bad_images=skip leaves 0 classes to train, which needs two or more; mend "
        "what run/bad_images.csv lists.",
        most,
        LISTED,
    ),
    Case(
        "an unknown way with bad images",
        "train TINY --bad_images=ignore",
        2,
        "--bad_images=ignore: give fail or skip.",
    ),
    Case(
        "a bad image where an embedder is scored",
        "evaluate --embedder=embedder.keras --dataset=folder --data_dir=own",
        1,
        "cannot read the image own/class 07/0.png (it is empty), of 20; mend or "
        "remove what embedder.scores.bad_images.csv lists, or give --bad_images=skip.",
        also(embedder(), own_images, write("own/class 07/0.png", b"")),
        frozenset({"embedder.scores.bad_images.csv"}),
    ),
]
