"""What holds for each of METRIC_LOSSES, whatever its formula."""

import json
from typing import Any

import every_loss
import every_loss_replicas
import keras
import numpy as np
import pytest
import tensorflow as tf
from every_loss import CASES, make, numbered, value_and_gradients, weights_of
from forks import Fork
from test_binomial_deviance import LABELS

from deml_tf.losses import METRIC_LOSSES
from deml_tf.losses.pair_loss import PairLoss

BATCHES = {**LABELS, "all of four": [0, 1, 0, 1, 1, 0, 0, 1, 2, 2, 3, 3]}
EMBEDDINGS = {
    "random": lambda x: x,
    "zeros": np.zeros_like,
    "one is zero": lambda x: x * (np.arange(len(x)) > 0)[:, None, None],
    "all equal": lambda x: np.broadcast_to(x[:1], x.shape),
    "two equal": lambda x: np.concatenate([x[:-1], x[:1]]),
    "opposite": lambda x: (
        x[:1] * np.where(np.arange(len(x)) % 2, 1.0, -1.0)[:, None, None]
    ),
    "orthogonal": lambda x: np.broadcast_to(
        np.eye(4)[np.arange(len(x)) % 4, None], x.shape
    ),
    "tiny": lambda x: 1e-9 * x,
    "long": lambda x: 1e4 * x,
}
ANY_BATCH = [
    tf.TensorSpec([None], tf.int64),
    tf.TensorSpec([None, 3, 4], tf.float32),
]
each = pytest.mark.parametrize("case", CASES)
# A loss as it is quickly, its other choices where there is time.
each_quickly = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow, pytest.mark.long] if own else ())
        for case, (_, own) in CASES.items()
    ],
)
each_pair_loss = pytest.mark.parametrize(
    "case", [c for c, (name, _) in CASES.items() if not every_loss.has_weights(name)]
)


def made(case, **sizes) -> Any:
    return make(*CASES[case], **sizes)


def some(case, labels=BATCHES["all of four"], learners=3, seed=0):
    """Labels that the loss takes, and embeddings."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(len(labels), learners, 4))
    return (
        tf.constant(numbered(CASES[case][0], labels), tf.int64),
        tf.constant(embeddings, tf.float32),
    )


def assert_close(found, wanted, rtol=2e-5):
    """Values and gradients, each beside the largest of its kind."""
    flat = zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True)
    for a, b in flat:
        a, b = np.array(a, np.float64), np.array(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-3))


@each
def test_one_finite_value_an_anchor_whatever_the_batch(case):
    loss = made(case)

    @tf.function(input_signature=ANY_BATCH, autograph=False)  # traced once for all
    def run(labels, embeddings):
        return value_and_gradients(loss, labels, embeddings)

    for batch, labels in BATCHES.items():
        for kind, change in EMBEDDINGS.items():
            numbers, embeddings = some(case, labels, seed=len(labels))
            embeddings = tf.constant(change(embeddings.numpy()), tf.float32)
            values, gradients = run(numbers, embeddings)
            where = f"{batch}, {kind}"
            assert values.shape == (len(labels),), where
            assert values.dtype == tf.float32, where
            for tensor in (values, *gradients):
                assert np.all(np.isfinite(tensor)), where


@each
def test_it_has_a_gradient(case):
    _, gradients = value_and_gradients(made(case), *some(case))
    for gradient in gradients:
        assert np.abs(gradient).max() > 1e-6


@each
def test_the_order_of_images_does_not_matter(case):
    loss = made(case)
    labels, embeddings = some(case)
    values, (gradient, *weights) = value_and_gradients(loss, labels, embeddings)
    order = np.random.default_rng(1).permutation(len(labels))
    moved = value_and_gradients(
        loss, tf.gather(labels, order), tf.gather(embeddings, order)
    )
    wanted = tf.gather(values, order), [tf.gather(gradient, order), *weights]
    assert_close(moved, wanted)


@each
def test_the_mean_over_learners(case):
    """Three learners cost the mean of what each costs, and share nothing."""
    three = made(case)
    labels, embeddings = some(case)
    values, (gradient, *_) = value_and_gradients(three, labels, embeddings)
    alone = []
    for j in range(3):
        one = made(case, learners=1)
        if weights_of(three):
            for mine, all_of in zip(weights_of(one), weights_of(three), strict=True):
                mine.assign(all_of[j : j + 1])
        alone.append(value_and_gradients(one, labels, embeddings[:, j]))
    found = tf.reduce_mean(tf.stack([v for v, _ in alone]), axis=0)
    assert_close(found, values)
    found = tf.stack([g[0] for _, g in alone], axis=1) / 3
    assert_close(found, gradient)


@each
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_embeddings_of_any_floating_type(case, dtype):
    """Computed in float32: what is rounded is what came."""
    loss = made(case)
    labels, embeddings = some(case)
    low = tf.cast(embeddings, dtype)
    values = loss.call(labels, low)
    assert values.dtype == tf.float32
    assert_close(values, loss.call(labels, tf.cast(low, tf.float32)), rtol=1e-6)


@each
def test_whatever_the_type_of_floats(case):
    labels, embeddings = some(case)
    wanted = made(case).call(labels, embeddings)
    before = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        found = made(case).call(labels, embeddings)
    finally:
        keras.config.set_floatx(before)
    assert found.dtype == tf.float32
    assert_close(found, wanted, rtol=1e-6)


@each
def test_labels_of_any_type_and_in_a_column(case):
    loss = made(case)
    labels, embeddings = some(case)
    wanted = loss.call(labels, embeddings)
    for dtype in (tf.int32, tf.uint8, tf.float32):
        given = tf.cast(labels, dtype)
        for column in (given, given[:, None], given.numpy()):
            np.testing.assert_array_equal(loss.call(column, embeddings), wanted)


@each_pair_loss
@pytest.mark.parametrize("first", [2**24, 2**53, 2**62])
def test_large_labels_stay_apart(case, first):
    loss = made(case)
    labels, embeddings = some(case)
    wanted = loss.call(labels, embeddings)
    np.testing.assert_array_equal(loss.call(labels + first, embeddings), wanted)


@each
def test_what_is_no_number_is_not_hidden(case):
    labels, embeddings = some(case)
    spoiled = tf.concat([embeddings[:-1], np.nan * embeddings[-1:]], axis=0)
    assert np.isnan(np.mean(made(case).call(labels, spoiled)))
    assert np.isnan(np.mean(made(case).call(labels, np.nan * embeddings)))


@each_quickly
def test_graphs_equal_eager(case):
    """Of unknown batch size, and compiled by XLA."""
    loss = made(case)

    def step(labels, embeddings):
        return value_and_gradients(loss, labels, embeddings)

    labels, embeddings = some(case)
    wanted = step(labels, embeddings)
    dynamic = tf.function(step, input_signature=ANY_BATCH)
    compiled = tf.function(step, jit_compile=True)
    for function in (dynamic, compiled):
        assert_close(function(labels, embeddings), wanted, rtol=1e-4)


@each
def test_the_config_makes_it_again(case):
    loss = made(case)
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert {**loss.get_config(), **CASES[case][1]} == loss.get_config()


@each_pair_loss
def test_references_take_the_place_of_the_batch(case):
    loss = made(case)
    labels, embeddings = some(case)
    others = some(case, [0, 1, 2, 3, 3, 5, 1], seed=1)
    values, (gradient,) = value_and_gradients(loss, labels, embeddings, others)
    assert values.shape == labels.shape and values.dtype == tf.float32
    assert np.abs(gradient).max() > 1e-6
    # What is absent changes nothing, be it of a class that is there.
    nothing = tf.zeros([2, 3, 4])
    longer = [
        tf.concat([others[0], [0, 77]], axis=0),
        tf.concat([others[1], nothing + 1.0], axis=0),
        np.array([True] * 7 + [False] * 2),
    ]
    found = value_and_gradients(loss, labels, embeddings, longer)
    assert_close(found, (values, [gradient]))
    # Of another type and shape.
    low = tf.cast(embeddings[:, 0], tf.float16), tf.cast(others[1][:, 0], tf.float16)
    found = loss.call(
        labels[:, None], low[0], references=(tf.cast(others[0], tf.int32), low[1])
    )
    assert found.shape == labels.shape and found.dtype == tf.float32


@each_pair_loss
def test_references_of_which_there_are_none(case):
    loss = made(case)
    labels, embeddings = some(case)
    for rows in (0, 5):
        nobody = (
            tf.zeros([rows], tf.int64),
            tf.ones([rows, 3, 4]),
            tf.zeros([rows], tf.bool),
        )
        values, (gradient,) = value_and_gradients(loss, labels, embeddings, nobody)
        np.testing.assert_array_equal(values, np.zeros(len(labels)))
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@each_pair_loss
def test_the_reduced_loss_is_the_mean(case):
    loss = made(case)
    assert isinstance(loss, PairLoss)
    labels, embeddings = some(case)
    mean = np.mean(loss.call(labels, embeddings))
    assert float(loss(labels, embeddings)) == pytest.approx(mean, rel=1e-6)


def test_each_has_its_name():
    for name, kind in METRIC_LOSSES.items():
        assert make(name).name == name or every_loss.has_weights(name)
        registered = keras.saving.get_registered_name(kind)
        assert registered == f"deml_tf>{kind.__name__}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "cases"),
    [
        pytest.param(2, list(METRIC_LOSSES), id="2, as they are"),
        pytest.param(2, list(CASES), marks=pytest.mark.long, id="2, all choices"),
        pytest.param(4, list(CASES), marks=pytest.mark.long, id="4, all choices"),
    ],
)
def test_replicas_sum_to_one_device(count, cases):
    """All losses in one process, whose devices nobody has touched yet."""
    process = Fork(every_loss_replicas.main, count, cases, longest=2400)
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-4000:]
    report = json.loads(output.splitlines()[-1])
    assert report.pop("replicas") == count
    assert {case.split(" | ")[0] for case in report} == set(cases)
    wrong = {}
    for case, (found, wanted, *errors) in report.items():
        if abs(found - wanted) > 2e-5 * max(abs(wanted), 1e-2) or max(errors) > 2e-5:
            wrong[case] = found, wanted, errors
    assert not wrong
