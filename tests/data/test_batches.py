import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import (
    batch_files,
    class_ids,
    scoring_dataset,
    training_dataset,
)
from deml_tf.data.example import Example
from deml_tf.data.images import explain_unreadable
from deml_tf.errors import DataError, UsageError
from deml_tf.layers.prepare import fit_square

# Classes 3, 5, ... of different sizes, their examples in disorder.
LABELS = np.random.default_rng(0).permutation(
    np.repeat([3, 5, 6, 8, 9, 20], [2, 3, 4, 7, 30, 5])
)


def many(table, steps):
    dataset = tf.data.Dataset.range(steps).map(table.indices).batch(steps)
    return next(iter(dataset)).numpy()


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
    arguments = {"resize_size": 16, "input_size": 12, "last_step": 6, "seed": 4}
    return training_dataset(birds, table, **(arguments | changes))


def read(batches):
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.stack(images), np.stack(labels)


@pytest.fixture(scope="module")
def uninterrupted(birds):
    """Images and labels of all six steps."""
    return read(dataset(birds))


@pytest.mark.parametrize(("p", "k"), [(2, 2), (6, 2), (1, 1), (3, 1)])
def test_p_classes_of_k_images(p, k):
    batches = many(BatchTable(LABELS, p, k, seed=1), 300)
    assert batches.shape == (300, p * k) and batches.dtype == np.int64
    for batch in batches:
        assert len(set(batch)) == p * k
        labels = LABELS[batch].reshape(p, k)
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0])) == p


def test_all_images_of_all_classes_are_a_permutation():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(6), 5))
    for batch in many(BatchTable(labels, 6, 5), 50):
        assert sorted(batch) == list(range(30))


def test_coverage_is_uniform():
    steps, p, k = 4000, 2, 2
    batches = many(BatchTable(LABELS, p, k, seed=2), steps)
    images = np.bincount(batches.ravel(), minlength=len(LABELS))
    for label in np.unique(LABELS):
        members = images[LABELS == label]
        share = p / 6
        expected = steps * share
        deviation = np.sqrt(steps * share * (1 - share))
        assert abs(members.sum() / k - expected) < 4.5 * deviation
        share = p / 6 * k / len(members)
        expected = steps * share
        deviation = np.sqrt(steps * share * (1 - share))
        assert np.all(np.abs(members - expected) < 4.5 * deviation)


def test_pairs_of_images_are_uniform():
    # Three of five images: each of the ten sets is equally likely.
    labels = np.repeat([0, 1], 5)
    batches = many(BatchTable(labels, 2, 3, seed=3), 3000)
    triples = np.sort(batches.reshape(-1, 3) % 5, axis=1)
    _, counts = np.unique(triples, axis=0, return_counts=True)
    assert len(counts) == 10
    assert np.all(np.abs(counts - 600) < 4.5 * np.sqrt(6000 * 0.1 * 0.9))


def test_a_step_is_the_same_everywhere():
    table, again = (BatchTable(LABELS, 3, 2, seed=5) for _ in range(2))
    batches = many(table, 40)
    np.testing.assert_array_equal(batches, many(again, 40))
    graph = tf.function(table.indices)
    for step in (0, 7, 39):
        np.testing.assert_array_equal(table.indices(step), batches[step])
        np.testing.assert_array_equal(graph(tf.constant(step)), batches[step])
    later = tf.data.Dataset.range(7, 9).map(again.indices)
    np.testing.assert_array_equal(np.stack(list(later)), batches[7:9])


def test_the_draw_never_changes():
    # A resumed run may meet another version of the libraries.
    table = BatchTable(np.arange(40) // 4, 4, 2, seed=2**40)
    assert table.indices(10**10).numpy().tolist() == [25, 27, 6, 7, 29, 31, 13, 15]


@pytest.mark.parametrize("other", [{"seed": 6}, {"seed": -5}, {"seed": 2**40}])
def test_seeds_and_steps_differ(other):
    a = many(BatchTable(LABELS, 3, 2, seed=5), 40)
    b = many(BatchTable(LABELS, 3, 2, **other), 40)
    assert np.mean([np.array_equal(x, y) for x, y in zip(a, b, strict=True)]) < 0.1
    assert len(np.unique(a, axis=0)) > 35


def test_many_classes():
    labels = np.random.default_rng(0).permutation(np.arange(60_000) % 11_318)
    batches = many(BatchTable(labels, 65, 2), 3)
    for batch in batches:
        assert len(np.unique(labels[batch])) == 65


@pytest.mark.parametrize(
    ("labels", "p", "k"), [(LABELS, 7, 2), (LABELS, 2, 3), (LABELS, 0, 2), ([], 1, 1)]
)
def test_impossible_tables(labels, p, k):
    with pytest.raises(UsageError, match="cannot be drawn from"):
        BatchTable(labels, p, k)


def test_class_ids_follow_the_names(birds):
    ids, names = class_ids(birds)
    assert names == ("a bird", "b bird", "c bird", "d bird")
    assert ids.dtype == np.int32
    assert ids.tolist() == [3, 1, 2, 0] * 3


def test_training_batches(birds, uninterrupted):
    batches = dataset(birds)
    images, labels = batches.element_spec
    assert images.shape == (6, 12, 12, 3) and images.dtype == tf.float32
    assert labels.shape == (6,) and labels.dtype == tf.int32
    assert batches.cardinality() == 6
    images, _ = uninterrupted
    assert len(images) == 6
    assert 0 <= images.min() and 200 < images.max() <= 255


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_images_and_labels_are_those_of_the_files(birds, fit):
    table = BatchTable(class_ids(birds)[0], 2, 3, seed=4)
    images, labels = read(dataset(birds, table, fit=fit, augment=False))
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
    assert batches.element_spec[0].shape.as_list() == [None, 16, 16, 3]
    assert batches.element_spec[0].dtype == tf.float32
    assert batches.cardinality() == 3
    images = list(batches.as_numpy_iterator())
    assert [len(batch) for batch, _ in images] == [5, 5, 2]
    squares, shapes = (np.concatenate(parts) for parts in zip(*images, strict=True))
    for example, square, shape in zip(birds, squares, shapes, strict=True):
        image = np.asarray(Image.open(example.path))
        np.testing.assert_array_equal(square, fit_square(image, 16, "pad"))
        assert tuple(shape) == image.shape[:2]


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
