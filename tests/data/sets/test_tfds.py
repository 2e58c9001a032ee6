"""Sets prepared here, by tensorflow-datasets itself, and read in place."""

import io
import os
import socket
import sqlite3
import tempfile
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import registered

from deml_tf.config import DataConfig
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import class_ids, training_dataset
from deml_tf.data.image_bytes import read_bytes, shard_place
from deml_tf.data.images import decode_bytes
from deml_tf.data.selection import read_examples
from deml_tf.data.sets import tfds_reader, tfds_records
from deml_tf.data.sets.tfds_reader import read_tfds
from deml_tf.data.sets.tfds_records import find_images
from deml_tf.data.splits import zero_shot_split
from deml_tf.errors import DataError, UsageError

F = tfds.features
NAMES = ["wren", "auk", "tern", "gull"]  # by number, which is not by name


def code(name, features, splits):
    """The code that makes a set, of which tensorflow-datasets does not know."""
    with registered.skip_registration():

        class TestSet(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.2.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self, features=F.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {
                    split: ((f"{split}{n}", row) for n, row in enumerate(rows))
                    for split, rows in splits.items()
                }

            def _generate_examples(self):
                raise NotImplementedError

    TestSet.name = name
    return TestSet


def prepared(data_dir, name, features, splits, **options):
    """Writes a set as a user finds it: without the code that made it."""
    builder = code(name, features, splits)(data_dir=str(data_dir), **options)
    builder.download_and_prepare()
    return builder


def jpeg(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (30 + seed, 40, 3), np.uint8)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = 6 if seed == 23 else 1  # which is turned
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    return file.getvalue()


def rows(seeds, classes=4, key="label", **more):
    return [{"image": io.BytesIO(jpeg(n)), key: n % classes, **more} for n in seeds]


@pytest.fixture(scope="module", autouse=True)
def left_lying(tmp_path_factory):
    """Where tensorflow-datasets leaves an empty folder for each set it builds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("left")))
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def birds(data_dir):
    """Four classes, each in both splits, with boxes; in three shards."""
    features = {
        "image": F.Image(encoding_format="jpeg"),
        "segmentation_mask": F.Image(shape=(None, None, 1)),
        "label": F.ClassLabel(names=NAMES),
        "attributes": F.ClassLabel(num_classes=7),
        "bbox": F.BBoxFeature(),
    }
    more = {
        "bbox": F.BBox(0.125, 0.25, 0.5, 0.75),
        "segmentation_mask": np.zeros((3, 3, 1), np.uint8),
        "attributes": 3,
    }
    splits = {"train": rows(range(16), **more), "test": rows(range(16, 24), **more)}
    return prepared(data_dir, "tiny_birds", features, splits)


@pytest.fixture(scope="module")
def products(data_dir):
    """Classes 0 to 2 in train and 3 to 4 in test, so the splits are the roles."""
    features = {
        "image": F.Image(),
        "class_id": F.ClassLabel(num_classes=5),
        "super_class_id": F.ClassLabel(num_classes=2),
    }
    images = [
        {"image": io.BytesIO(jpeg(n)), "class_id": n % 5, "super_class_id": n % 2}
        for n in range(10)
    ]
    splits = {
        "train": [p for p in images if p["class_id"] < 3],
        "test": [p for p in images if p["class_id"] >= 3],
    }
    return prepared(data_dir, "tiny_products", features, splits)


def test_examples(birds, data_dir):
    found = read_examples(DataConfig("tfds:tiny_birds", str(data_dir)))
    assert len(found) == 24
    expected = {jpeg(n): NAMES[n % 4] for n in range(24)}
    assert {read_bytes(e.path): e.label for e in found} == expected
    turned = {e.box for e in found if read_bytes(e.path) == jpeg(23)}
    assert turned == {(0.25, 0.5, 0.75, 0.875)}
    assert {e.box for e in found} - turned == {(0.125, 0.25, 0.5, 0.75)}
    for example in found:
        place = shard_place(example.path)
        assert place and Path(place.shard).parent == Path(birds.data_path)
        # By the number of the class, over all splits.
        role = "train" if example.label in ("wren", "auk") else "test"
        assert example.split == role
    split = zero_shot_split(found)
    assert len(split.train) == len(split.test) == 12
    assert read_examples(DataConfig("tfds:tiny_birds:1.2.0", str(data_dir))) == found


def test_batches_hold_the_images_that_tfds_gives(birds, data_dir):
    split = zero_shot_split(read_examples(DataConfig("tfds:tiny_birds", str(data_dir))))
    labels, names = class_ids(split.train)
    options = {
        "resize_size": 24,
        "input_size": 20,
        "augmentation": None,
        "last_step": 4,
    }
    table = BatchTable(labels, 2, 2)
    batches = training_dataset(split.train, table, **options)
    from deml_tf.layers.prepare import center_crop, fit_square

    given = {}
    stored = {"image": tfds.decode.SkipDecoding()}  # that library decodes otherwise
    sets: Any = tfds.load("tiny_birds", data_dir=str(data_dir), decoders=stored)
    for part in sets.values():
        for row in part:
            square = center_crop(fit_square(decode_bytes(row["image"]), 24), 20).numpy()
            given[square.tobytes()] = NAMES[int(row["label"])]
    count = 0
    for images, numbers in batches:
        for image, number in zip(images.numpy(), numbers.numpy(), strict=True):
            assert given[image.tobytes()] == names[number]
            count += 1
    assert count == 16


def test_splits_that_share_no_class_are_the_roles(products, data_dir):
    found = read_examples(DataConfig("tfds:tiny_products", str(data_dir)))
    roles = {example.label: example.split for example in found}
    assert roles == dict.fromkeys("012", "train") | dict.fromkeys("34", "test")
    assert all(example.box is None for example in found)


def test_what_is_found_is_remembered(birds, data_dir, monkeypatch):
    found = read_examples(DataConfig("tfds:tiny_birds", str(data_dir)))
    monkeypatch.setattr(tfds_records, "_records", None)
    assert read_examples(DataConfig("tfds:tiny_birds", str(data_dir))) == found
    (shard, *_) = sorted(Path(birds.data_path).glob("*.tfrecord*"))
    time = os.stat(shard).st_mtime_ns
    os.utime(shard, ns=(time, time + 1))
    with pytest.raises(TypeError):  # looks again at what has changed
        read_examples(DataConfig("tfds:tiny_birds", str(data_dir)))
    monkeypatch.undo()


def test_a_cache_that_is_damaged_or_cannot_be_written(
    birds, data_dir, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEML_TF_CACHE", str(folder))
    data = DataConfig("tfds:tiny_birds", str(data_dir))
    found = read_examples(data)
    (file,) = folder.iterdir()
    with sqlite3.connect(file) as connection:
        for content in (b"", b"PK damaged", b"\x93NUMPY"):
            connection.execute("UPDATE entries SET value = ?", (content,))
            connection.commit()
            assert read_examples(data) == found
    assert capsys.readouterr().err == ""
    for content in (b"no database" * 99, file.read_bytes()[:100]):
        file.write_bytes(content)
        assert read_examples(data) == found
        assert "cannot be used" in capsys.readouterr().err
    file.unlink()
    folder.rmdir()
    folder.write_text("a file where the folder should be")
    assert read_examples(data) == found


def test_images_without_a_class_are_left_out_and_told(data_dir, capsys):
    features = {"image": F.Image(), "label": F.ClassLabel(num_classes=4)}
    splits = {"train": rows(range(8)), "unlabelled": rows(range(8, 11))}
    for row in splits["unlabelled"]:
        row["label"] = -1
    prepared(data_dir, "tiny_part", features, splits)
    assert len(read_examples(DataConfig("tfds:tiny_part", str(data_dir)))) == 8
    assert "WARNING: tfds:tiny_part: 3 of 11 images have no class and are left" in (
        capsys.readouterr().out
    )


def test_damaged_shards(tmp_path):
    shard = tmp_path / "s.tfrecord-0"

    def write(data):
        with tf.io.TFRecordWriter(str(shard)) as writer:
            writer.write(data)

    write(b"no example")
    with pytest.raises(DataError, match="s.tfrecord-0, record at byte 0: not one imag"):
        find_images([str(shard)], "image", "label")
    write(tf.train.Example().SerializeToString())
    with pytest.raises(DataError, match="not one image 'image' with one class 'lab"):
        find_images([str(shard)], "image", "label")
    for size in (20, 5):
        write(b"x" * 50)
        os.truncate(shard, size)
        with pytest.raises(DataError, match="at byte 0: the shard ends before it does"):
            find_images([str(shard)], "image", "label")
    with pytest.raises(DataError, match="cannot read the shard .*gone"):
        find_images([str(tmp_path / "gone")], "image", "label")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tiny_brids",
            "is no set .* prepared in .*; did you mean tfds:tiny_birds( or|$)",
        ),
        ("cars_196", "is no set of tensorflow-datasets, .* did you mean tfds:cars196"),
        ("qqqqqqqqqq", "nor prepared in .*; correct the name$"),
        ("tiny_birds:9.9.9", "is no version or configuration of tiny_birds "),
        (
            "huggingface:beans",
            "is no set's name; write tfds:NAME, tfds:NAME/CONFIG or ",
        ),
        ("a b", "dataset=tfds:a b is no set's name"),
        (
            "scan",
            r"has not one image a record \(its features are commands, actions\)",
        ),
        ("div2k", "has not one class a record|has not one image a record"),
    ],
)
def test_names_that_are_no_set_of_images(name, message, birds, data_dir):
    with pytest.raises(UsageError, match=message):
        read_tfds(name, data_dir)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("caltech_birds2011", "in its official layout, and use dataset=cub200_2011"),
        ("cars196", "in its official layout, and use dataset=cars196"),
        ("stanford_online_products", "in its official layout, and use dataset=sop"),
        ("oxford_flowers102", "in one folder a class, and use dataset=folder"),
    ],
)
def test_a_failed_download_is_explained(name, layout, tmp_path, monkeypatch):
    def no_network(*arguments):
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    with pytest.raises(DataError) as caught:
        read_tfds(name, tmp_path / "new")
    message = str(caught.value)
    assert message.startswith(
        f"tensorflow-datasets cannot prepare {name} (cannot find "
    )
    assert message.endswith(f"get the images yourself, {layout} data_dir=FOLDER")
    assert not (tmp_path / "new").exists()


def test_any_failure_of_the_preparation_is_explained(tmp_path, monkeypatch):
    def fail(self, **options):
        raise ImportError("install opencv\nas follows")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(DataError, match=r"caltech_birds2011 \(install opencv\); get"):
        read_tfds("caltech_birds2011", tmp_path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("https", "tried"),
        ("all", "tried"),
        ("http", "cannot find d[a-z.]+: is there .*"),
    ],
)
def test_a_proxy_looks_names_up(kind, reason, tmp_path, monkeypatch):
    """That of the addresses' kind, and they begin with https."""

    def fail(*arguments, **options):
        raise OSError("tried")

    def unknown(*arguments):
        raise socket.gaierror("no such host")

    monkeypatch.setattr(urllib.request, "getproxies", lambda: {kind: "http://p:1"})
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(DataError, match=rf"caltech_birds2011 \({reason}\); get"):
        read_tfds("caltech_birds2011", tmp_path)


def test_two_processes_that_find_a_set_unprepared(tmp_path, monkeypatch):
    features = {"image": F.Image(), "label": F.ClassLabel(num_classes=4)}
    made = code("tiny_new", features, {"train": rows(range(8))})
    monkeypatch.setattr(tfds, "builder", lambda _, data_dir: made(data_dir=data_dir))
    both = threading.Barrier(2, timeout=60)
    monkeypatch.setattr(tfds_reader, "_check_network", lambda _: both.wait())
    with ThreadPoolExecutor(2) as pool:
        found, same = pool.map(read_tfds, ["tiny_new"] * 2, [tmp_path] * 2)
    assert len(found) == 8 and found == same


def test_other_formats(data_dir):
    pytest.importorskip("array_record")
    features = {"image": F.Image(), "label": F.ClassLabel(num_classes=4)}
    prepared(
        data_dir,
        "tiny_array",
        features,
        {"train": rows(range(4))},
        file_format="array_record",
    )
    with pytest.raises(
        DataError, match="tiny_array is prepared as array_record in .*;"
    ):
        read_tfds("tiny_array", data_dir)
