import numpy as np
import pytest
import tensorflow as tf

from deml_tf.data.batch_table import BatchTable
from deml_tf.errors import UsageError

# Classes 3, 5, ... of different sizes, their examples in disorder.
LABELS = np.random.default_rng(0).permutation(
    np.repeat([3, 5, 6, 8, 9, 20], [2, 3, 4, 7, 30, 5])
)


def many(table, steps):
    dataset = tf.data.Dataset.range(steps).map(table.indices).batch(steps)
    return next(iter(dataset)).numpy()


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
    ("labels", "p", "k", "words"),
    [
        (LABELS, 7, 2, "classes_per_batch=7 is more than the"),
        (LABELS, 2, 3, "images_per_class=3 is more than the images of"),
        (LABELS, 0, 2, "classes_per_batch=0: it must be at least 1"),
        ([], 1, 1, "classes_per_batch=1 is more than the 0 classes"),
    ],
)
def test_impossible_tables(labels, p, k, words):
    with pytest.raises(UsageError, match=words):
        BatchTable(labels, p, k)
