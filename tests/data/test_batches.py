from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.python.framework import op_def_registry

from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import (
    batch_files,
    class_ids,
    scoring_dataset,
    training_dataset,
)
from deml_tf.data.example import Example
from deml_tf.data.images import explain_unreadable, read_example
from deml_tf.data.layouts import Layout
from deml_tf.data.pk_sampler import PKSampler
from deml_tf.errors import DataError, UsageError
from deml_tf.layers.prepare import fit_square


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Twelve images of four classes, no two alike, the first late to be read."""
    folder = tmp_path_factory.mktemp("birds ünï")
    random = np.random.default_rng(1)
    made = []
    for i in range(12):
        label = f"{'dbca'[i % 4]} bird"
        size = (20 + i, 30 - i, 3) if i else (900, 900, 3)
        pixels = random.integers(0, 256, size).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        made.append(Example(str(folder / f"{i}.png"), label))
    return made


def dataset(birds, table=None, **changes):
    table = table or BatchTable(class_ids(birds)[0], 2, 3, seed=4)
    arguments: Any = {"resize_size": 16, "input_size": 12, "last_step": 6, "seed": 4}
    return training_dataset(birds, table, **(arguments | changes))


def read(batches):
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.stack(images), np.stack(labels)


@pytest.fixture(scope="module")
def uninterrupted(birds):
    """Images and labels of all six steps."""
    return read(dataset(birds))


def test_tensorflow_may_read_several_images_at_once(birds):
    """Deterministic, it reads one after the other if an operation has a state."""
    sampler = PKSampler(
        [e.path for e in birds], class_ids(birds)[0], 2, 3, image_size=16
    )
    for made in (
        dataset(birds),
        scoring_dataset(birds, resize_size=16),
        scoring_dataset(birds, resize_size=16, layout=lambda image, _: image),
        sampler.dataset(),
    ):
        written = tf.raw_ops.DatasetToGraphV2(input_dataset=made._variant_tensor)
        library = tf.compat.v1.GraphDef.FromString(written.numpy()).library
        used = {node.op for f in library.function for node in f.node_def}
        assert {"ReadFile", "DecodeImage"} <= used
        states = {op for op in used if op_def_registry.get(op).is_stateful}
        # Those that TensorFlow lets pass.
        assert states <= {"Assert", "TensorSliceDataset"}


def test_class_ids_follow_the_names(birds):
    ids, names = class_ids(birds)
    assert names == ("a bird", "b bird", "c bird", "d bird")
    assert ids.dtype == np.int32
    assert ids.tolist() == [3, 1, 2, 0] * 3


def test_training_batches(birds, uninterrupted):
    batches = dataset(birds)
    spec: Any = batches.element_spec
    images, labels = spec
    assert images.shape == (6, 12, 12, 3) and images.dtype == tf.float32
    assert labels.shape == (6,) and labels.dtype == tf.int32
    assert batches.cardinality() == 6
    images, _ = uninterrupted
    assert len(images) == 6
    assert 0 <= images.min() and 200 < images.max() <= 255


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_images_and_labels_are_those_of_the_files(birds, fit):
    table = BatchTable(class_ids(birds)[0], 2, 3, seed=4)
    images, labels = read(dataset(birds, table, fit=fit, augmentation=None))
    of = {example.path: example.label for example in birds}
    for step in range(6):
        for place, path in enumerate(batch_files(birds, table, step)):
            square = fit_square(np.asarray(Image.open(path)), 16, fit)
            np.testing.assert_array_equal(images[step, place], square[2:14, 2:14])
            assert class_ids(birds)[1][labels[step, place]] == of[path]


def test_augmented_images_are_windows_of_their_files(birds, uninterrupted):
    table = BatchTable(class_ids(birds)[0], 2, 3, seed=4)
    images, _ = uninterrupted
    kinds = set()
    for step in range(6):
        for place, path in enumerate(batch_files(birds, table, step)):
            square = fit_square(np.asarray(Image.open(path)), 16).numpy()
            fits = [
                (top, left, turn)
                for top in range(5)
                for left in range(5)
                for turn in (1, -1)
                if np.array_equal(
                    square[top : top + 12, left : left + 12][:, ::turn],
                    images[step, place],
                )
            ]
            assert len(fits) == 1
            kinds.add(fits[0])
    # 36 draws out of 50 kinds: about 26 different ones.
    assert len(kinds) > 15 and {turn for *_, turn in kinds} == {1, -1}


def test_two_runs_see_the_same_pixels(birds, uninterrupted):
    images, labels = read(dataset(birds))
    np.testing.assert_array_equal(images, uninterrupted[0])
    np.testing.assert_array_equal(labels, uninterrupted[1])


def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(birds, uninterrupted):
    resumed = dataset(birds, first_step=4)
    assert resumed.cardinality() == 2
    images, labels = read(resumed)
    np.testing.assert_array_equal(images, uninterrupted[0][4:])
    np.testing.assert_array_equal(labels, uninterrupted[1][4:])
    assert dataset(birds, first_step=9).cardinality() == 0


def test_another_seed_cuts_the_same_files_elsewhere(birds, uninterrupted):
    images, labels = uninterrupted
    others, other_labels = read(dataset(birds, seed=5))
    np.testing.assert_array_equal(labels, other_labels)
    assert np.mean(np.all(images == others, axis=(2, 3, 4))) < 0.2


def test_scoring_sees_everything_once_in_order(birds):
    batches = scoring_dataset(birds, resize_size=16, fit="pad", batch_size=5)
    spec: Any = batches.element_spec
    assert spec[0].shape.as_list() == [None, 16, 16, 3]
    assert spec[0].dtype == tf.float32
    assert batches.cardinality() == 3
    images = list(batches.as_numpy_iterator())
    assert [len(batch) for batch, _ in images] == [5, 5, 2]
    squares, shapes = (np.concatenate(parts) for parts in zip(*images, strict=True))
    for example, square, shape in zip(birds, squares, shapes, strict=True):
        image = np.asarray(Image.open(example.path))
        np.testing.assert_array_equal(square, fit_square(image, 16, "pad"))
        assert tuple(shape) == image.shape[:2]


def test_scoring_lays_out_an_image_as_its_box(tmp_path):
    """White objects on black, each moved to another side or another place."""
    random, examples = np.random.default_rng(0), []
    for n in range(9):
        top, left = random.integers(1, 20, 2)  # no white at the border
        image = np.zeros((32, 32, 3), np.uint8)
        image[top : top + 8, left : left + 12] = 255
        Image.fromarray(image).save(tmp_path / f"{n}.png")
        box = (top / 32, left / 32, (top + 8) / 32, (left + 12) / 32)
        examples.append(Example(str(tmp_path / f"{n}.png"), "a", box=box))
    layout = Layout("shifted", examples, read_example, seed=1)
    batches = scoring_dataset(
        layout.examples, resize_size=32, batch_size=4, layout=layout
    )
    squares = np.concatenate([images for images, _ in batches.as_numpy_iterator()])
    for n, (example, square) in enumerate(zip(layout.examples, squares, strict=True)):
        laid_out = layout(np.asarray(Image.open(examples[n].path)), n)
        np.testing.assert_array_equal(square, fit_square(laid_out, 32))
        rows, columns = np.nonzero(square[..., 0])
        object_box = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        assert np.array(object_box).tolist() == (np.array(example.box) * 32).tolist()


def test_a_broken_image_stops_at_its_step_and_can_be_named(birds, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("a bird")
    given = [*birds[:-1], Example(str(broken), birds[-1].label)]
    table = BatchTable(class_ids(given)[0], 2, 2, seed=1)
    files = [batch_files(given, table, step) for step in range(30)]
    expected = next(i for i, names in enumerate(files) if str(broken) in names)
    assert expected > 0
    read_steps = 0
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        for _ in dataset(given, table, last_step=30):
            read_steps += 1
    assert read_steps == expected
    named = explain_unreadable(files[read_steps], caught.value)
    assert isinstance(named, DataError) and str(broken) in str(named)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: dataset(b, input_size=17), "input_size=17 does not fit into resize"),
        (lambda b: dataset(b, fit="cut"), "fit='cut' is unknown"),
        (lambda b: dataset(b[:-1], BatchTable([0, 0, 1, 1], 2, 2)), "holds 4 examples"),
        (lambda b: scoring_dataset(b, resize_size=0), "resize_size=0"),
        (lambda b: scoring_dataset(b, resize_size=8, fit="cut"), "fit='cut'"),
    ],
)
def test_bad_arguments(birds, call, message):
    with pytest.raises(UsageError, match=message):
        call(birds)
