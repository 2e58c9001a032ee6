import numpy as np
import pytest
import tensorflow as tf

from deml_tf.losses.marked import (
    largest_marked,
    log_one_plus_sum_marked,
    log_sum_marked,
)

VALUES = np.array([[1.0, -2.0, 3.0], [500.0, 400.0, -700.0], [0.5, 0.25, 0.125]])
MARKED = np.array([[True, True, False], [True, False, True], [False, False, False]])


@pytest.mark.parametrize("sign", [1, -1])
def test_values_and_gradients(sign):
    values = tf.constant(sign * VALUES, tf.float32)
    wanted = {largest_marked: [], log_sum_marked: [], log_one_plus_sum_marked: []}
    for row, marked in zip(sign * VALUES, MARKED, strict=True):
        chosen = row[marked]
        wanted[largest_marked].append(max(chosen, default=-1e30))
        wanted[log_sum_marked].append(np.logaddexp.reduce(chosen) if len(chosen) else 0)
        wanted[log_one_plus_sum_marked].append(np.logaddexp.reduce([0, *chosen]))
    for function, expected in wanted.items():
        with tf.GradientTape() as tape:
            tape.watch(values)
            found = function(values, MARKED)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        gradient = np.array(tape.gradient(found, values))
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~MARKED], 0)
        if function is log_sum_marked:
            np.testing.assert_allclose(gradient.sum(axis=1), [1, 1, 0], rtol=1e-6)


def test_rows_of_nothing():
    nothing = tf.zeros([2, 0])
    marked = tf.zeros([2, 0], tf.bool)
    np.testing.assert_array_equal(log_sum_marked(nothing, marked), [0, 0])
    np.testing.assert_array_equal(log_one_plus_sum_marked(nothing, marked), [0, 0])


def test_what_is_no_number_is_not_hidden():
    values, marked = tf.constant([[np.nan, 1.0]]), [[True, True]]
    assert np.isnan(log_sum_marked(values, marked))
    assert np.isnan(log_one_plus_sum_marked(values, marked))
