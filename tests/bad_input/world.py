"""The folder in which a bad command is typed: images, flags, runs, weights."""

import functools
import json
import shutil
import tempfile
from pathlib import Path

from absl import flags
from PIL import Image

from deml_tf.backbones import build_backbone
from deml_tf.cli.flags import as_flags, define_flags, read_configs
from deml_tf.config import CONFIGS, DataConfig
from deml_tf.data.selection import read_split
from deml_tf.data.split_record import write_record
from deml_tf.models.embedder import CORE, build_deml
from deml_tf.runs.folder import RunFolder

TINY = """\
--dataset=folder
--data_dir=images
--run_dir=run
--validation_classes=0.5
--weights=none
--width=0.25
--input_size=32
--resize_size=40
--output_stride=16
--scales=2
--learners=2
--embedding_dim=32
--classes_per_batch=2
--images_per_class=2
--steps=8
"""
SIZES = {"width": 0.25, "input_size": 32, "output_stride": 16, "weights": "none"}
SCORES = {"recall_at_1": 0.5, "r_precision": 0.4, "map_at_r": 0.3, "nmi": 0.2}


def lay_out(folder, images):
    """A folder with `tiny.cfg`, and `images`: eight classes of five."""
    folder.mkdir()
    (folder / "images").symlink_to(images)
    (folder / "tiny.cfg").write_text(TINY)


def write(name, content):
    """Makes a file of that content, text or bytes."""

    def make(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def also(*makers):
    """Makes one thing after the other."""

    def make(folder):
        for maker in makers:
            maker(folder)

    return make


def classes(**counts):
    """Makes a folder `set` of classes with so many images each."""

    def make(folder):
        for name, count in counts.items():
            place = folder / "set" / name
            place.mkdir(parents=True)
            for n in range(count):
                Image.new("RGB", (40, 40), (n * 20, 0, 0)).save(place / f"{n}.png")

    return make


def listed(text):
    """Makes `list.csv`, whose paths `a/0.png` to `d/4.png` exist."""

    def make(folder):
        for label in "abcd":
            (folder / label).mkdir()
            for n in range(5):
                Image.new("RGB", (40, 30), (n * 20, 0, 0)).save(
                    folder / label / f"{n}.png"
                )
        write("list.csv", text)(folder)

    return make


def rows(header, *given, cells=lambda label, n: ""):
    """Text of a list: a header, the rows given, and one row for every other image."""
    text = [header, *given]
    for label in "abcd":
        for n in range(5):
            path = f"{label}/{n}.png"
            if not any(path in row for row in given):
                text.append(f"{path},{label}{cells(label, n)}")
    return "\n".join(text) + "\n"


def run(name="run", finished=False, **changes):
    """Makes the run folder of `tiny.cfg`, as a training leaves it."""

    def make(folder):
        values = flags.FlagValues()
        define_flags(*CONFIGS, flag_values=values)
        given = [f"--{flag}={value}" for flag, value in changes.items()]
        values(["", f"--flagfile={folder / 'tiny.cfg'}", *given])
        opened = RunFolder.open(folder / name, as_flags(*read_configs(values)))
        if finished:
            embedder()(folder, f"{name}/embedder.keras")
            opened.write_json("results.json", {"frozen": SCORES, "test": SCORES})
        opened.close()

    return make


def record(name="run"):
    """Makes the record of the split of `own` in a run folder."""

    def make(folder):
        data = DataConfig("folder", str(folder / "own"), validation_classes=0.5)
        write_record(folder / name / "split.json", read_split(data, 0), data)

    return make


def _set_first(model, value):
    if value is not None:
        model.weights[0].assign(model.weights[0] * 0 + value)


@functools.cache
def _saved_embedder(first=None):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "embedder.keras")
        built = build_deml(**SIZES, scales=1, learners=1, embedding_dim=8)
        _set_first(built.get_layer(CORE), first)
        built.save(path)
        return path.read_bytes()


@functools.cache
def saved_weights(first=None, **sizes):
    """What `Backbone.whole().save_weights` writes, the first weights set to a value."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lite.weights.h5")
        whole = build_backbone("efficientnet_lite0", **{**SIZES, **sizes}).whole()
        _set_first(whole, first)
        whole.save_weights(path)
        return path.read_bytes()


def embedder(name="embedder.keras", cut=None, first=None, flip=False):
    """Makes an embedder of this project, cut off or with some weight changed if asked.

    Args:
        name: of the file.
        cut: bytes after which it ends.
        first: value of all its first weights.
        flip: whether a bit in its midst is changed.
    """

    def make(folder, name=name):
        content = bytearray(_saved_embedder(first)[:cut])
        content[len(content) // 2] ^= flip << 6
        (folder / name).write_bytes(content)

    return make


def own_images(folder):
    """Makes `own`, a copy of `images` to spoil."""
    shutil.copytree(folder / "images", folder / "own")


def as_json(value):
    return json.dumps(value)
