"""Lists and folders of every damaged kind, read as data sets.

    python tests/data/fuzz_lists.py [--seconds=60] [--seed=0]

Whatever a list holds and whatever it names, reading it ends: with examples that are
there, or with one error of the package that names what is wrong.
"""

import argparse
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from deml_tf.config import DataConfig
from deml_tf.data.sets import SETS
from deml_tf.errors import DataError, UsageError

LABELS = ["a", "b", "0", "é", "", " ", '"', "a,b", "x\ny", "\0", "=1", "[b]", "a" * 300]
CELLS = ["1", "2"] * 200
CELLS += [
    "1",
    "-1",
    "0.5",
    "nan",
    "inf",
    "1e400",
    "",
    "x",
    "٣",
    "1_0",
    "0x1",
    "9" * 400,
]
NOISE = [
    b'"',
    b",",
    b"\t",
    b";",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\xff",
    b"\xef\xbb\xbf",
    b"/",
]
SPLITS = ["", "", "train", "test", "Test ", "query", "gallery", "validation", "learn"]
ODD = [
    "",
    ".",
    "..",
    "/dev/stdin",
    "pipe",
    "~",
    "a/0.png/x",
    "a//0.png",
    "A/0.PNG",
]
ODD += ["./a//0.png", "a\\0.png", "a" * 300, "a/" * 3000 + "x", "a/\0", "caf\udce9"]


def lay_out(folder):
    """Makes a folder with images and with all that only looks like one."""
    for label in ("a", "b", "ç", ".h", "__MACOSX"):
        (folder / label / "deep").mkdir(parents=True)
        for n in range(2):
            Image.new("RGB", (20, 10), (n, 0, 0)).save(folder / label / f"{n}.png")
    shutil.copy(folder / "a/0.png", folder / "a/bare")
    shutil.copy(folder / "a/0.png", folder / "b/deep/2.jfif")
    (folder / "a/half.png").write_bytes((folder / "a/0.png").read_bytes()[:20])
    (folder / "a/text.jpg").write_text("no image")
    (folder / "a/folder.jpg").mkdir()
    (folder / "a/loop.jpg").symlink_to("loop.jpg")
    (folder / "a/back").symlink_to("..")
    (folder / "a/lost.jpg").symlink_to("nowhere")
    (folder / "a/zero.jpg").symlink_to("/dev/zero")
    (folder / os.fsdecode(b"a/caf\xe9.png")).touch()
    os.mkfifo(folder / "a/pipe.jpg")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as plug:
        here = os.getcwd()
        os.chdir(folder / "a")
        plug.bind("socket.jpg")
        os.chdir(here)
    with open(folder / "a/sparse.jpg", "wb") as file:
        file.truncate(3 * 2**30)


def names(folder):
    """Paths to write into lists: what is there, and what cannot be."""
    there = [
        os.path.relpath(os.path.join(place, n), folder)
        for place, folders, files in os.walk(folder)
        for n in files + folders
    ]
    there = [name for name in there if name.isprintable()]
    return sorted(there), ODD


class Damage:
    """Random choices of one case."""

    def __init__(self, seed, number):
        self.random = np.random.default_rng([seed, number])

    def one(self, options):
        return options[self.random.integers(len(options))]

    def rarely(self, odds=8):
        return int(self.random.integers(odds)) == 0

    def spoil(self, content):
        """Cuts, doubles or overwrites a few bytes now and then."""
        content = bytearray(content)
        for _ in range(self.random.integers(4) if self.rarely(3) else 0):
            at = int(self.random.integers(len(content) + 1))
            end = at + int(self.random.integers(20))
            content[at:end] = self.one(
                [b"", self.one(NOISE), content[at:end] * 3, self.random.bytes(5)]
            )
        return bytes(content)

    def rows(self, paths, count):
        """Yields a path and a label, one in twenty of them odd in half of the cases."""
        there, odd = paths
        there = self.random.permutation(there)[:count]
        spoilt = self.rarely(2)
        for path in there:
            wrong = spoilt and self.rarely(20)
            yield (
                str(self.one(odd) if wrong else path),
                self.one(LABELS if spoilt and self.rarely(20) else LABELS[:4]),
            )


def encode(text):
    return text.encode(errors="surrogateescape")


def quoted(damage, cell):
    if damage.rarely(3) or set(cell) & set('",\n;\t'):
        cell = '"' + cell.replace('"', '""') + '"'
    return damage.one(["", "", " ", "  "]) + cell + " " * damage.rarely(200)


def csv_list(damage, paths, folder):
    """A list of any form, for `list`."""
    extra = damage.one([[], ["split"], ["x", "y", "w", "h"], ["other", "split"], ["x"]])
    columns = ["path", "label", *extra]
    damage.random.shuffle(columns)
    separator, end = damage.one(",,\t;"), damage.one(["\n", "\r\n", "\r"])
    lines = [separator.join(columns)]
    for path, label in damage.rows(paths, damage.random.integers(30)):
        cells = {
            "path": path,
            "label": label,
            "split": damage.one(SPLITS),
            "other": "1",
        }
        cells |= {side: damage.one(CELLS) for side in "xywh"}
        lines.append(separator.join(quoted(damage, cells[c]) for c in columns))
    where = folder / damage.one(["list.csv", "list.tsv", "own.txt"])
    where.write_bytes(damage.spoil(encode(end.join(lines))))
    return "list", where


def cub(damage, paths, folder):
    """The four lists of `cub200_2011`."""
    (folder / "images").symlink_to(".")
    chosen = [p.replace(" ", "") for p, _ in damage.rows(paths, 12)]
    ids = [
        damage.one(["0", "-1", "x", "²"]) if damage.rarely(50) else str(n)
        for n in range(1, 13)
    ]
    files = {
        "images.txt": [f"{n} {p}" for n, p in zip(ids, chosen, strict=True)],
        "image_class_labels.txt": [f"{n} {damage.random.integers(1, 5)}" for n in ids],
        "classes.txt": [f"{n} name{n}" for n in range(1, 5)],
        "bounding_boxes.txt": [
            " ".join([n, *(damage.one(CELLS) or "0" for _ in range(4))]) for n in ids
        ],
    }
    for name, lines in files.items():
        if not damage.rarely(20):
            (folder / name).write_bytes(damage.spoil(encode("\n".join(lines))))
    return "cub200_2011", folder


def sop(damage, paths, folder):
    """The two lists of `sop`."""
    for name in ("Ebay_train.txt", "Ebay_test.txt"):
        lines = ["image_id class_id super_class_id path"]
        lines += [
            f"1 {damage.random.integers(9)} 1 {p}" for p, _ in damage.rows(paths, 9)
        ]
        (folder / name).write_bytes(damage.spoil(encode("\n".join(lines))))
    return "sop", folder


def in_shop(damage, paths, folder):
    """The list of `in_shop`."""
    (folder / "img").symlink_to("a")
    lines = [damage.one(["9"] * 9 + ["x", "²"]), "image_name item_id evaluation_status"]
    for path, _ in damage.rows(paths, 9):
        item = damage.random.integers(5)
        role = damage.one(["query", "gallery"])
        lines.append(f"{path} item{item} {role}")
    (folder / "list_eval_partition.txt").write_bytes(
        damage.spoil(encode("\n".join(lines)))
    )
    return "in_shop", folder


def cars(damage, paths, folder):
    """The MATLAB file of `cars196`; SciPy crashes on some that are damaged further."""
    names = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class"]
    rows = np.zeros((9,), [(name, object) for name in names])
    for row, (path, _) in zip(rows, damage.rows(paths, 9), strict=True):
        row[names[0]] = path.encode(errors="replace").decode()
        for name in names[1:]:
            row[name] = damage.one([1, 2] * 200 + [-1, 10**6, 0.5, np.nan, "x", [1, 2]])
    where = folder / "cars_annos.mat"
    classes = np.array(["one", "two"], object)
    scipy.io.savemat(where, {"annotations": rows, "class_names": classes})
    return "cars196", folder


def folders(damage, paths, folder):
    """Class folders, some of which hold something else."""
    root = folder / damage.one(["set", "set/images"])
    root.mkdir(parents=True)
    for name in ("one", "two", ".three"):
        if damage.rarely(4):
            (root / name).symlink_to(damage.one(["../a", "../b", name, ".."]))
            continue
        (root / name).mkdir()
        for path, label in damage.rows(paths, 3):
            target = folder / path if "\0" not in path and len(path) < 300 else folder
            inside = root / name / damage.one(["", "deep"])
            inside.mkdir(exist_ok=True)
            link = inside / (label.replace("/", "").replace("\0", "")[:99] or "x")
            if not os.path.lexists(link):
                link.symlink_to(target)
    return "folder", folder / "set"


KINDS = (csv_list, csv_list, cub, sop, in_shop, cars, folders)


def check(seed, number, paths, folder):
    """Reads one damaged data set.

    Returns:
        "read", or the first words of the error.
    """
    damage = Damage(seed, number)
    dataset, where = damage.one(KINDS)(damage, paths, folder)
    try:
        examples = SETS[dataset].read(DataConfig(dataset, str(where)))
    except (DataError, UsageError) as error:
        assert str(error)
        return "refused"
    for example in examples:
        assert os.path.lexists(example.path), example.path
        assert example.label
        box = example.box
        assert box is None or 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1
    return "read"


def run(seed, seconds=None, count=None):
    """Reads damaged data sets one after the other, until the time or they are over.

    Returns:
        Number of outcomes by name.
    """
    outcomes, number, end = {}, 0, time.monotonic() + (seconds or 10**9)
    with tempfile.TemporaryDirectory() as place:
        world = Path(place, "world")
        world.mkdir()
        lay_out(world)
        paths = names(world)
        before = {*os.listdir(world)}
        while number != count and time.monotonic() < end:
            try:
                outcome = check(seed, number, paths, world)
            except BaseException:
                print(f"seed {seed}, number {number}:", flush=True)
                raise
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            number += 1
            for name in {*os.listdir(world)} - before:
                path = world / name
                folder = path.is_dir() and not path.is_symlink()
                (shutil.rmtree if folder else os.unlink)(path)
    return outcomes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(run(given.seed, seconds=given.seconds))
