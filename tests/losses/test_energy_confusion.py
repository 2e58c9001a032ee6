from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from loops import labelled

from deml_tf.losses import energy_confusion


def naive(labels, pooled, kernel):
    """The formula, pair by pair, in float64."""
    energies = []
    for p in range(len(labels)):
        for q in range(p + 1, len(labels)):
            if labels[p] != labels[q]:
                difference = pooled[p] @ kernel - pooled[q] @ kernel
                energies.append(np.sum(difference**2) / 2)
    return np.log(np.mean(energies)) if energies else 0.0


@labelled
def test_values_and_gradients_equal_a_loop(labels, central_differences):
    random = np.random.default_rng(len(labels))
    pooled, kernel = random.normal(size=(len(labels), 5)), random.normal(size=(5, 3))
    given = [tf.constant(x, tf.float32) for x in (pooled, kernel)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        values = energy_confusion(labels, *given)
        mean = tf.reduce_mean(values)
    assert values.shape == (len(labels),) and values.dtype == tf.float32
    np.testing.assert_allclose(values, naive(labels, pooled, kernel), rtol=1e-5)
    gradients: Any = tape.gradient(mean, given)
    to_pooled, to_kernel = gradients
    assert to_pooled is None  # the features have no part in it
    wanted = central_differences(lambda k: naive(labels, pooled, k), kernel)
    np.testing.assert_allclose(to_kernel, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
@pytest.mark.parametrize("seed", range(5))
def test_images_all_alike(labels, seed):
    random = np.random.default_rng(seed)
    image = random.normal(size=(1, 400)).clip(0)  # sums of it are rounded
    kernel = tf.constant(random.normal(size=(400, 24)) / 20, tf.float32)
    pooled = tf.constant(image.repeat(3, axis=0), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        values = energy_confusion(labels, pooled, kernel)
    np.testing.assert_array_equal(values, 0)
    gradient: Any = tape.gradient(values, kernel)
    np.testing.assert_array_equal(gradient, np.zeros(kernel.shape))


def test_a_large_common_part_costs_no_digits():
    random = np.random.default_rng(0)
    pooled = 100 + random.normal(size=(6, 5)).astype("float32")
    labels, kernel = [0, 0, 1, 1, 2, 2], random.normal(size=(5, 3)).astype("float32")
    found = energy_confusion(labels, tf.constant(pooled), tf.constant(kernel))
    np.testing.assert_allclose(found, naive(labels, pooled, kernel), rtol=1e-4)


def test_what_is_no_number_is_not_hidden():
    pooled = tf.constant([[1.0, 2.0], [np.nan, 1.0]])
    assert np.isnan(energy_confusion([0, 1], pooled, tf.ones([2, 2]))).all()
