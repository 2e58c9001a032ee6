"""Batches for somebody else's `fit`."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import deml_tf.data
from deml_tf.data import PKSampler
from deml_tf.data.batch_table import BatchTable
from deml_tf.errors import DataError, UsageError
from deml_tf.layers.prepare import fit_square
from deml_tf.losses import BinomialDeviance

# Of four classes, beyond what any float holds.
LABELS = np.tile(2**62 + np.arange(4), 5)
# Image n is of n alone.
IMAGES = np.tile(np.arange(20, dtype="float32")[:, None], 3)


class Identity(keras.layers.Layer):
    """Notes the images that it sees."""

    def build(self, shape):
        self.seen = []
        self.weight = self.add_weight(shape=(), initializer="ones")

    def call(self, images):
        self.seen.append(np.asarray(images)[:, 0].astype(int).tolist())
        return images * self.weight


@pytest.fixture
def model():
    made = keras.Sequential([Identity()])
    made.build((None, 3))
    made.compile("sgd", BinomialDeviance(), run_eagerly=True)
    made.layers[0].seen.clear()
    return made


def indices_of(steps, p=3, k=2, seed=7):
    table = BatchTable(LABELS, p, k, seed)
    return [table.indices(step).numpy().tolist() for step in steps]


def first(batches, count):
    return list(itertools.islice(batches, count))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images ünï")
    random = np.random.default_rng(0)
    paths = [folder / f"{n}.png" for n in range(20)]
    for n, path in enumerate(paths):
        pixels = random.integers(0, 256, (9 + n, 20, 3), "uint8")
        Image.fromarray(pixels).save(path)
    return paths


@pytest.mark.parametrize("kind", ["int64", "uint64", "int32", "uint8", "column"])
def test_batches_are_those_of_the_table(kind):
    labels = LABELS[:, None] if kind == "column" else LABELS.astype(kind)
    sampler = PKSampler(IMAGES, labels, 3, 2, seed=7)
    for batches in (sampler, sampler.dataset()):
        for want, (images, found) in zip(
            indices_of(range(5)), first(batches, 5), strict=True
        ):
            np.testing.assert_array_equal(images, IMAGES[want])
            found = np.asarray(found)
            assert found.dtype == labels.dtype
            np.testing.assert_array_equal(found, labels[want])
    spec: Any = sampler.dataset().element_spec
    images, labels = spec
    assert images.shape == (6, 3) and labels.shape[0] == 6
    assert sampler.dataset().cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize("kind", ["one thread", "three threads", "dataset"])
def test_fit_resumes_in_order(model, kind):
    def batches(first_step):
        made = PKSampler(
            IMAGES,
            LABELS,
            3,
            2,
            seed=7,
            first_step=first_step,
            workers=3 if kind == "three threads" else 1,
        )
        return made.dataset() if kind == "dataset" else made

    options = {"steps_per_epoch": 4, "shuffle": False, "verbose": 0}
    model.fit(batches(0), epochs=2, **options)
    model.fit(batches(8), epochs=3, initial_epoch=2, **options)
    assert model.layers[0].seen == indices_of(range(12))


def test_large_labels_are_told_apart_in_fit(model):
    losses = []
    for labels in (LABELS, LABELS - 2**62):
        model.layers[0].weight.assign(1.0)
        sampler = PKSampler(IMAGES - 10, labels, 3, 2)
        options = {"steps_per_epoch": 2, "shuffle": False, "verbose": 0}
        losses.append(model.fit(sampler, epochs=2, **options).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("given", [LABELS, LABELS[:, None]], ids=["(n,)", "(n, 1)"])
@pytest.mark.parametrize("batch", [None, 7])
def test_a_dataset_is_drawn_from(batch, given):
    source = tf.data.Dataset.from_tensor_slices((IMAGES, given))
    sampler = PKSampler(source.batch(batch) if batch else source, None, 3, 2, seed=7)
    images, labels = sampler[2]
    (want,) = indices_of([2])
    np.testing.assert_array_equal(images, IMAGES[want])
    np.testing.assert_array_equal(labels, given[want])


def test_a_dataset_of_images_of_unknown_size_and_labels_in_a_column():
    images = np.stack([IMAGES, IMAGES], axis=1)[:, :, None]  # (20, 2, 1, 3)
    source = tf.data.Dataset.from_generator(
        lambda: zip(images, LABELS[:, None], strict=True),
        output_signature=(
            tf.TensorSpec((None, None, 3), "float32"),
            tf.TensorSpec((1,), "int64"),
        ),
    )
    (want,) = indices_of([2])
    for given in (source, source.batch(1, drop_remainder=True), source.batch(7)):
        found, labels = PKSampler(given, None, 3, 2, seed=7)[2]
        np.testing.assert_array_equal(found, images[want])
        np.testing.assert_array_equal(labels, LABELS[want][:, None])


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_files_are_read(files, fit):
    options = {"seed": 7, "image_size": 8, "fit": fit}
    sampler = PKSampler(files, LABELS, 3, 2, **options)
    squares = [fit_square(np.asarray(Image.open(f)), 8, fit).numpy() for f in files]
    again = PKSampler([str(f) for f in files], LABELS, 3, 2, **options)
    for batches in (sampler, sampler.dataset(first_step=0), again):
        for want, (images, labels) in zip(
            indices_of(range(2)), first(batches, 2), strict=True
        ):
            np.testing.assert_array_equal(images, np.array(squares)[want])
            np.testing.assert_array_equal(labels, LABELS[want])
    spec: Any = sampler.dataset().element_spec
    assert spec[0].shape == (6, 8, 8, 3)


def test_a_file_that_cannot_be_read_is_named(files, tmp_path):
    gone = [tmp_path / "gone.png", *files[1:]]
    sampler = PKSampler(gone, LABELS, 4, 5, image_size=8)
    with pytest.raises(DataError, match="gone.png .*put a readable file in its place"):
        sampler[0]


def test_a_memory_map_is_not_read_whole(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    sampler = PKSampler(mapped, LABELS, 3, 2)
    assert np.shares_memory(sampler.images, mapped)
    np.testing.assert_array_equal(
        sampler[3][0], next(iter(sampler.dataset(first_step=3)))[0]
    )


def of(*labels):
    return np.zeros((len(labels), 2), "float32"), list(labels)


PAIRS = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
RAGGED = tf.data.Dataset.range(4).map(lambda n: (tf.zeros([n, 2]), n))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (of(1, 1, 2, 2), {}, "classes_per_batch=32 is more than the 2 classes"),
        (of(1, 1, 5, 7, 7, 8), {"classes_per_batch": 2}, "2 of the 4 .* 5 with 1; g"),
        (of(1, 1), {"classes_per_batch": 0}, "classes_per_batch=0: .* at least 1"),
        (of(1, 1), {"images_per_class": 0}, "images_per_class=0: .* at least 1"),
        (of(), {}, r"labels \(shape \(0,\), dtype float64\)"),
        (of(1.0, 1.0), {}, "dtype float64"),
        (of("a", "a"), {}, "return_inverse"),
        ((IMAGES, LABELS[:4]), {}, r"shape \(4,\).* each of the 20 images"),
        ((IMAGES,), {}, "labels are missing"),
        ((IMAGES, LABELS, 2), {"use_multiprocessing": True}, "give workers=N"),
        ((IMAGES, LABELS, 2), {"image_size": 8}, "image_size=8 is for files"),
        ((["a.png"], [1]), {"classes_per_batch": 1, "images_per_class": 1}, "image_si"),
        (([IMAGES[0], None], [1, 1]), {}, "images differ in size"),
        ((5, [1]), {}, "are neither"),
        (([None], [1]), {}, "are neither"),
        ((PAIRS, LABELS), {}, "beside a dataset"),
        ((PAIRS.repeat(),), {}, "no end"),
        ((PAIRS.take(0),), {}, "empty"),
        ((PAIRS.map(lambda image, _: image),), {}, "elements are TensorSpec"),
        ((RAGGED,), {}, r"such as \(0, 2\) and \(3, 2\)"),
    ],
)
def test_what_cannot_be_drawn_from(arguments, options, words):
    with pytest.raises(UsageError, match=words) as caught:
        PKSampler(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_no_other_name_is_there():
    assert deml_tf.data.PKSampler is PKSampler
    with pytest.raises(AttributeError, match="no attribute 'PKSamplers'"):
        _ = deml_tf.data.PKSamplers  # pyright: ignore[reportAttributeAccessIssue]
