import numpy as np
import pytest
import tensorflow as tf

from deml_tf.losses import pairs, replicas

LABELS = {
    "two of each": [0, 0, 1, 1],
    "mixed": [3, 1, 3, 2, 1, 3],
    "one class": [5, 5, 5],
    "all different": [4, 2, 9],
    "single image": [1],
    "beyond 32 bits": [2**40, 2**40 + 1, 2**40],
}
labelled = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())


@labelled
def test_masks_and_counts_equal_a_loop(labels):
    numbers = tf.constant(labels, tf.int64)
    same, other = pairs.class_masks(numbers, numbers)
    positives = negatives = 0
    for p in range(len(labels)):
        for q in range(len(labels)):
            assert bool(same[p, q]) == (p != q and labels[p] == labels[q])
            assert bool(other[p, q]) == (p != q and labels[p] != labels[q])
            positives += p < q and labels[p] == labels[q]
            negatives += p < q and labels[p] != labels[q]
    batch = pairs.pairs_of(numbers, tf.ones([len(labels), 2]))
    assert float(batch.count(batch.same)) == 2 * positives
    assert float(batch.count(batch.other)) == 2 * negatives


def test_masks_of_a_later_replica_leave_out_its_own_columns():
    columns = np.array([0, 1, 0, 0, 1, 0])
    same, other = pairs.class_masks(tf.constant(columns[2:4]), columns, 2)
    np.testing.assert_array_equal(same, [[1, 0, 0, 1, 0, 1], [1, 0, 1, 0, 0, 1]])
    np.testing.assert_array_equal(other, [[0, 1, 0, 0, 1, 0], [0, 1, 0, 0, 1, 0]])


def test_counts_are_whole_numbers_at_the_largest_batch_promised():
    labels = np.repeat(np.arange(1024), 4)
    batch = pairs.pairs_of(labels, tf.ones([4096, 1]))
    assert float(batch.count(batch.same)) == 2 * 1024 * 6
    assert float(batch.count(batch.other)) == 4096 * 4095 - 2 * 1024 * 6


@pytest.mark.parametrize("learners", [1, 3])
def test_similarities_equal_a_loop(learners):
    random = np.random.default_rng(0)
    rows = random.normal(size=(3, learners, 5)) * 7
    columns = random.normal(size=(4, learners, 5)) / 9
    found = pairs.cosine_similarities(tf.constant(rows), tf.constant(columns))
    assert found.shape == (learners, 3, 4) and found.dtype == tf.float32
    for j, p, q in np.ndindex(learners, 3, 4):
        a, b = rows[p, j], columns[q, j]
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        np.testing.assert_allclose(found[j, p, q], cosine, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e15])
def test_unit_vectors_and_their_gradient(scale, central_differences):
    random = np.random.default_rng(1)
    vectors, toward = random.normal(size=(2, 4, 6))
    given = tf.constant(vectors * scale, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(given)
        unit = pairs.unit_vectors(given)
        loss = tf.reduce_sum(unit * tf.constant(toward, tf.float32))
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    np.testing.assert_allclose(unit, vectors / lengths, rtol=1e-5, atol=1e-6)

    def naive(x):
        return np.sum(x / np.linalg.norm(x, axis=-1, keepdims=True) * toward)

    wanted = central_differences(naive, vectors)
    found = np.asarray(tape.gradient(loss, given)) * scale
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-8])
@pytest.mark.parametrize("xla", [False, True])
def test_a_vector_without_direction_has_no_value_and_no_gradient(length, xla):
    def step(vectors):
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            unit = pairs.unit_vectors(vectors)
            loss = tf.reduce_sum(unit * [1.0, 2.0, 3.0])
        return unit, tape.gradient(loss, vectors)

    step = tf.function(step, jit_compile=True) if xla else step
    unit, gradient = step(tf.constant([[length, 0.0, 0.0], [3.0, 4.0, 0.0]]))
    np.testing.assert_allclose(unit, [[0, 0, 0], [0.6, 0.8, 0]], atol=1e-6)
    gradient = gradient.numpy()
    np.testing.assert_array_equal(gradient[0], 0)
    assert np.all(np.isfinite(gradient)) and np.any(gradient[1] != 0)


@pytest.mark.parametrize("row", [[np.nan, 1.0], [np.inf, 1.0], [3e19, 4e19]])
def test_what_is_no_number_or_too_long_is_not_hidden(row):
    unit = pairs.unit_vectors(tf.constant([row, [3.0, 4.0]]))
    assert np.all(np.isnan(unit[0]))
    np.testing.assert_allclose(unit[1], [0.6, 0.8], atol=1e-6)


def test_one_replica_gathers_nothing():
    rows = tf.constant([[1.0], [2.0]])
    assert replicas.gather_rows(rows) is rows
    assert int(replicas.first_row(rows, rows)) == 0


def test_outside_a_replica_nothing_is_gathered():
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    rows = tf.constant([[1.0], [2.0]])
    with strategy.scope():
        assert tf.distribute.get_replica_context() is None
        assert replicas.gather_rows(rows) is rows
        assert int(replicas.first_row(rows, rows)) == 0
