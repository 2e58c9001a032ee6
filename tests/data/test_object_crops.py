"""Images cropped to the boxes that a data set lists for their objects."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from deml_tf.audit import read_roles
from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import (
    batch_files,
    class_ids,
    scoring_dataset,
    training_dataset,
)
from deml_tf.data.example import WHOLE
from deml_tf.data.images import cut_out
from deml_tf.data.object_crops import crop_to_boxes
from deml_tf.data.selection import read_split
from deml_tf.errors import DataError
from deml_tf.evaluate import Source, readable
from deml_tf.layers.prepare import fit_square
from deml_tf.reports.drawing import thumbnail
from deml_tf.reports.examples import _read
from deml_tf.retrieval.embedding import embed
from deml_tf.runs.folder import RunFolder
from deml_tf.serving import source as serving
from deml_tf.training.session import _check_images, _read_split
from deml_tf.training.workers import Workers

BOX = (3, 5, 12, 9)  # x, y, w, h in pixels as stored


def write(folder, boxes=True, broken=()):
    """A list of eight classes of three images, some of them turned by their EXIF."""
    random = np.random.default_rng(0)
    rows = ["path,label" + ",x,y,w,h" * boxes]
    for n in range(24):
        image = Image.fromarray(random.integers(0, 256, (20, 30, 3)).astype(np.uint8))
        exif = image.getexif()
        exif[0x0112] = 1 + n % 8
        image.save(folder / f"{n}.png", exif=exif)
        if n in broken:
            (folder / f"{n}.png").write_bytes(b"no image")
        rows.append(f"{n}.png,class {n // 3}" + "".join(f",{c}" for c in BOX) * boxes)
    (folder / "list.csv").write_text("\n".join(rows))
    return DataConfig("list", str(folder), 0.5, crop_to_box=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("boxed"))


def cropped(path):
    """The box, cut out of the image as stored, then turned upright; in Pillow."""
    with Image.open(path) as image:
        x, y, w, h = BOX
        part = image.crop((x, y, x + w, y + h))
        part.getexif()[0x0112] = image.getexif()[0x0112]
        return np.asarray(ImageOps.exif_transpose(part))


@pytest.fixture(scope="module")
def examples(data):
    return crop_to_boxes(read_split(data, 0), data).train


def test_boxes_are_cut_to_whole_pixels():
    image = np.random.default_rng(0).integers(0, 256, (7, 11, 3))
    for box, rows, columns in (
        (WHOLE, (0, 7), (0, 11)),
        ((1 / 7, 2 / 11, 3 / 7, 9 / 11), (1, 3), (2, 9)),
        ((0.2, 0.2, 0.7, 0.7), (1, 5), (2, 8)),  # 1.4, 4.9; 2.2, 7.7
        ((0.5, 0.5, 0.501, 0.501), (4, 5), (6, 7)),  # not a pixel wide; 3.5, 5.5
        ((0.99, 0.99, 1.0, 1.0), (6, 7), (10, 11)),
    ):
        found = cut_out(tf.constant(image), tf.constant(box))
        np.testing.assert_array_equal(found, image[slice(*rows), slice(*columns)])


def test_large_images_are_cut_exactly():
    image = tf.zeros((4999, 1, 1), tf.uint8)
    for start in range(0, 4000, 37):
        found = cut_out(image, tf.constant([start / 4999, 0, (start + 500) / 4999, 1]))
        assert len(found) == 500


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_scoring_reads_the_upright_boxes(examples, fit):
    assert len({e.crop for e in examples}) > 1  # turned with their images
    batches = scoring_dataset(examples, resize_size=16, fit=fit, batch_size=4)
    images, shapes = (np.concatenate(x) for x in zip(*batches, strict=True))
    for n, example in enumerate(examples):
        expected = cropped(example.path)
        assert tuple(shapes[n]) == expected.shape[:2]
        np.testing.assert_array_equal(images[n], fit_square(expected, 16, fit))
        np.testing.assert_array_equal(_read(example), thumbnail(expected, 448))


@pytest.mark.parametrize("served", [False, True])
def test_training_reads_them(examples, served):
    service: Any = tf.data.experimental.service
    dispatcher = service.DispatchServer() if served else None
    address = dispatcher and dispatcher.target.removeprefix("grpc://")
    worker = served and service.WorkerServer(
        service.WorkerConfig(dispatcher_address=address)
    )
    table = BatchTable(class_ids(examples)[0], 2, 2, seed=1)
    sizes = {"resize_size": 14, "input_size": 12, "augmentation": None}
    batches = training_dataset(examples, table, last_step=2, service=address, **sizes)
    for step, (images, _) in enumerate(batches):
        for place, path in enumerate(batch_files(examples, table, step)):
            square = fit_square(cropped(path), 14)
            np.testing.assert_array_equal(images[place], square[1:13, 1:13])
    del worker, dispatcher


def test_boxes_of_outputs_are_relative_to_the_crop(examples):
    """With borders, which the box of the whole square leaves out."""

    def forward(images):
        return {"boxes": tf.tile(tf.constant([[WHOLE]]), [len(images), 1, 1])}

    found = embed(forward, examples, resize_size=16, fit="pad")["boxes"]
    np.testing.assert_allclose(found, [[WHOLE]] * len(examples), atol=1e-6)
    assert all(example.box == WHOLE for example in examples)


def test_without_the_setting_nothing_changes(data):
    plain = dataclasses.replace(data, crop_to_box=False)
    split = read_split(plain, 0)
    assert crop_to_boxes(split, plain) is split
    assert all(example.crop is None for example in split.train)


def read(settings, run):
    """The images of a run, as its session takes them."""
    begun = run.split_path.exists()
    split = _read_split(settings, run, begun)
    return _check_images(split, settings, run, Workers(), begun)


def configs(data):
    train = TrainConfig(classes_per_batch=2, images_per_class=2)
    return Configs(data, ModelConfig(), LossConfig(), train, ScoreConfig())


def test_every_command_crops_and_the_record_keeps_the_boxes(data, tmp_path):
    plain = dataclasses.replace(data, crop_to_box=False)
    runs = {x: RunFolder(tmp_path / f"run{x.crop_to_box}") for x in (data, plain)}
    splits = {}
    for settings, run in runs.items():
        begun = read(configs(settings), run)
        again = read(configs(settings), run)
        assert [e.crop for e in begun.train] == [e.crop for e in again.train]
        splits[settings] = again
    records = [json.loads(run.split_path.read_text()) for run in runs.values()]
    assert records[0] == records[1]  # so the two can be compared
    listed = [e.box for e in splits[plain].test]
    assert [e.crop for e in splits[data].test] == listed

    run = runs[data]
    source = Source(tmp_path / "e.keras", tmp_path / "s", data, 0, run.split_path)
    assert [e.crop for e in readable(source, "test").test] == listed
    unrecorded = source._replace(record=None)
    assert [e.crop for e in readable(unrecorded, "test").test] == listed
    exported = serving.Source("run", None, run, configs(data)).read_images()
    assert [e.crop for e in exported.held_out] == [
        e.box for e in splits[plain].validation
    ]


def test_an_image_without_a_box_is_named(tmp_path):
    data = write(tmp_path, boxes=False)
    words = r"crop_to_box=true needs a box .*/\d+.png has none \(24 of 24 lack it\)"
    with pytest.raises(DataError, match=words):
        read_split(data, 0)
    roles, refusal = read_roles(dataclasses.replace(data, crop_to_box=False), 0)
    assert len(roles["test"]) == 12 and refusal is None


def test_an_image_that_cannot_be_read_is_left_to_the_scan(tmp_path):
    data = write(tmp_path, broken=(0, 20))
    assert [e.box for e in read_split(data, 0).test].count(None) == 1
    skipping = dataclasses.replace(data, bad_images="skip")
    split = read(configs(skipping), RunFolder(tmp_path / "run"))
    assert all(e.crop for e in (*split.train, *split.validation, *split.test))
    assert len(split.test) == 11
