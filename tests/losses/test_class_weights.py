"""Losses with class weights as layers: in somebody's model, saved, on replicas."""

import json
from typing import Any

import class_weights_replicas
import keras
import numpy as np
import pytest
import tensorflow as tf
from class_weights_replicas import data, model_of
from every_loss import has_weights, make
from forks import Fork

from deml_tf.errors import UsageError
from deml_tf.losses import (
    METRIC_LOSSES,
    CosFace,
    NormalisedSoftmax,
    normalised_softmax,
)
from deml_tf.losses.class_weights import ClassWeights

NAMES = [name for name in METRIC_LOSSES if has_weights(name)]
each = pytest.mark.parametrize("name", NAMES)


def loss_of(name, **arguments) -> Any:
    return make(name, arguments)


@each
def test_fit_trains_it_in_a_model_of_two_inputs(name):
    keras.utils.set_random_seed(0)
    loss: Any = METRIC_LOSSES[name](num_classes=4)  # type: ignore[call-arg]
    model = model_of(loss)
    model.compile(keras.optimizers.Adam(0.02))
    before = [w.copy() for w in model.get_weights()]
    history = model.fit(data(), epochs=25, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.1 * abs(history[0])
    for weight, old in zip(model.get_weights(), before, strict=True):
        assert np.abs(weight - old).max() > 0.01
    assert len(model.losses) <= 1


@each
def test_the_added_loss_is_the_mean(name):
    loss: Any = METRIC_LOSSES[name](num_classes=4)  # type: ignore[call-arg]
    model = model_of(loss)
    model.compile("sgd")
    (images, labels), *_ = [b[0] for b in data()]
    values = model([images, labels])
    assert values.shape == (8,)
    (added,) = model.losses
    assert float(added) == pytest.approx(float(tf.reduce_mean(values)))
    embeddings = model.get_layer("embedder")(images)
    np.testing.assert_allclose(loss.call(labels, embeddings), values, rtol=1e-6)
    found = model.evaluate(data(), verbose=0)
    assert found == pytest.approx(float(added), rel=1e-5)


def test_a_replica_without_images_adds_nothing():
    layer = CosFace(num_classes=3)
    layer(tf.constant([], tf.int64), tf.zeros([0, 4]))
    assert [float(x) for x in layer.losses] == [0.0]


def test_call_leaves_no_loss_behind():
    loss = loss_of("normalised_softmax")
    for _ in range(3):
        loss.call([1, 2], np.ones([2, 3, 4]))
    assert loss.losses == []
    for _ in range(3):
        loss(np.array([1, 2]), np.ones([2, 3, 4]))
    assert len(loss.losses) == 1


@each
def test_a_saved_model_is_whole(name, tmp_path):
    loss: Any = METRIC_LOSSES[name](num_classes=4)  # type: ignore[call-arg]
    model = model_of(loss)
    model.compile("sgd")
    model.fit(data(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    (images, labels), *_ = [b[0] for b in data()]
    np.testing.assert_array_equal(model([images, labels]), loaded([images, labels]))
    loaded.compile("sgd")
    losses = [m.fit(data(), verbose=0).history["loss"] for m in (model, loaded)]
    assert losses[0] == losses[1]


@each
def test_a_number_that_is_no_class_is_not_hidden(name):
    # A margin loss with one boundary for all has nothing that belongs to a class.
    loss = loss_of(name, **({"per_class": True} if name == "margin" else {}))
    embeddings = np.random.default_rng(0).normal(size=(3, 3, 4))
    for wrong in (10, -1, 2**40):
        values = np.array(loss.call(np.array([1, wrong, 2]), embeddings))
        assert np.isnan(values[1])
    assert np.isfinite(loss.call(np.array([0, 9, 2]), embeddings)).all()


def test_embeddings_of_one_learner_need_no_axis():
    loss = NormalisedSoftmax(num_classes=4)
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(3, 5)).astype("float32")
    values = loss(np.array([0, 3, 1]), embeddings)
    assert loss.class_weights.shape == (1, 4, 5)
    again = normalised_softmax([0, 3, 1], embeddings, loss.class_weights[0])
    np.testing.assert_array_equal(values, again)


def test_labels_of_a_layer_are_not_rounded():
    """Keras would cast what is a float to the layer's type."""
    loss = NormalisedSoftmax(num_classes=3000, dtype="float16")
    labels = np.array([2049.0, 2051.0])
    values = loss(labels, np.eye(2, 4, dtype="float32"))
    assert loss.class_weights.dtype == "float16" and values.dtype == tf.float32
    whole = loss(labels.astype("int64"), np.eye(2, 4, dtype="float32"))
    np.testing.assert_array_equal(values, whole)


@pytest.mark.parametrize(
    ("embeddings", "weights"),
    [((2, 5), (3, 4)), ((2, 3, 4), (2, 5, 4)), ((2, 3, 4), (5, 4))],
)
def test_shapes_that_do_not_fit(embeddings, weights):
    with pytest.raises(UsageError, match="learners and length alike"):
        normalised_softmax([0, 1], np.ones(embeddings), np.ones(weights))


def test_messages_name_the_loss():
    loss = loss_of("normalised_softmax")
    with pytest.raises(UsageError, match="^NormalisedSoftmax: labels have shape"):
        loss.call(np.eye(4), np.ones([4, 3, 4]))


def test_all_of_them_are_of_one_kind():
    for name in NAMES:
        assert issubclass(METRIC_LOSSES[name], ClassWeights)


def others():
    return [name for name in METRIC_LOSSES if name not in NAMES]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "names"),
    [
        (2, NAMES),
        pytest.param(2, others(), marks=pytest.mark.long),
        pytest.param(4, list(METRIC_LOSSES), marks=pytest.mark.long),
    ],
    ids=["2, class weights", "2, others", "4, all"],
)
def test_fit_on_replicas_ends_with_the_same_weights(count, names):
    process = Fork(class_weights_replicas.main, count, names, longest=2400)
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-4000:]
    report = json.loads(output.splitlines()[-1])
    assert report.keys() == set(names)
    two_spacings = 2.0**-23  # of float32 numbers a little below 1, as the weights are
    for name, (error, moved, *losses) in report.items():
        bound = 1e-4 * moved + two_spacings
        assert moved > 1e-3 and error < bound, (name, error, moved)
        assert losses[0] == pytest.approx(losses[1], rel=1e-4), name
