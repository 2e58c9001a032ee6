"""A memory of past batches: what it holds, what it costs, and that it is whole."""

import json
from typing import Any

import keras
import memory_replicas
import numpy as np
import pytest
import tensorflow as tf
from class_weights_replicas import data, model_of
from forks import Fork
from memory_replicas import batch

from deml_tf.errors import UsageError
from deml_tf.losses import METRIC_LOSSES, BinomialDeviance, Contrastive
from deml_tf.losses.memory import CrossBatchMemory


def made(size=10, weight=0.5, start=0, loss=None, shape=(None, 3, 4)) -> Any:
    layer = CrossBatchMemory(loss or Contrastive(), size, weight, start)
    layer.build((None,), shape)
    return layer


def held(layer):
    """Labels and embeddings remembered, the oldest first."""
    count = int(layer.remembered)
    place = np.arange(max(0, count - layer.size), count) % layer.size
    return layer.labels.numpy()[place], layer.embeddings.numpy()[place]


@pytest.mark.parametrize("size", [10, 4, 3, 1, 64])
def test_it_holds_the_newest_images(size):
    layer = made(size)
    for step in range(5):
        layer.call(*batch(step), training=True)
    labels, embeddings = (
        np.concatenate(x) for x in zip(*map(batch, range(5)), strict=True)
    )
    found = held(layer)
    np.testing.assert_array_equal(found[0], labels[-size:])
    np.testing.assert_array_equal(found[1], embeddings[-size:].astype("float32"))
    assert int(layer.remembered) == 5 * min(size, 4)


@pytest.mark.parametrize("kind", ["binomial_deviance", "contrastive", "triplet"])
def test_the_loss_is_that_of_batch_and_past(kind):
    loss: Any = METRIC_LOSSES[kind]()  # type: ignore[call-arg]
    layer = made(10, 0.5, loss=loss)
    past: Any = None
    for step in range(5):
        labels, embeddings = batch(step)
        wanted = loss.call(labels, embeddings)
        if past is not None:
            wanted += 0.5 * loss.call(labels, embeddings, references=past)
        found = layer.call(labels, embeddings, training=True)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        past = held(layer)


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e19])
def test_a_batch_that_is_no_number_is_not_remembered(number):
    layer = made(loss=BinomialDeviance())
    for step in range(3):
        labels, embeddings = batch(step)
        spoiled = tf.where(step == 1, number, embeddings)
        values = layer.call(labels, spoiled, training=True)
        assert np.all(np.isfinite(values)) == (step != 1)
    labels = np.concatenate([batch(0)[0], batch(2)[0]])
    np.testing.assert_array_equal(held(layer)[0], labels)
    assert np.all(np.isfinite(held(layer)[1]))


def test_it_begins_after_some_steps():
    layer = made(10, start=2)
    for step in range(3):
        np.testing.assert_array_equal(
            layer.call(*batch(step), training=True), Contrastive().call(*batch(step))
        )
    np.testing.assert_array_equal(held(layer)[0], batch(2)[0])
    assert not np.allclose(layer.call(*batch(3)), Contrastive().call(*batch(3)))


def test_no_gradient_comes_from_the_memory():
    layer = made(weight=1.0)
    first, second = (tf.constant(batch(n)[1], tf.float32) for n in (0, 1))
    with tf.GradientTape() as tape:
        tape.watch([first, second])
        layer.call(batch(0)[0], first, training=True)
        values = layer.call(batch(1)[0], second, training=True)
    gradients: Any = tape.gradient(values, [first, second])
    to_first, to_second = gradients
    assert to_first is None and np.abs(to_second).max() > 0
    assert layer.trainable_variables == [] and len(layer.variables) == 4


def test_labels_are_the_numbers_they_were():
    layer = made(loss=BinomialDeviance())
    labels, embeddings = batch(0)
    large = labels.astype("int64") + 2**62
    layer.call(large, embeddings, training=True)
    np.testing.assert_array_equal(held(layer)[0], large)
    found = layer.call(large + 1, embeddings)
    near = made(loss=BinomialDeviance())
    near.call(labels, embeddings, training=True)
    np.testing.assert_array_equal(found, near.call(labels + 1, embeddings))


def test_graphs_of_unknown_batch_size_equal_eager():
    layer, again = made(7), made(7)
    signature = [
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None, 3, 4], tf.float32),
    ]
    step = tf.function(
        lambda *given: layer.call(*given, training=True),
        input_signature=signature,
        autograph=False,
    )
    for n in range(4):
        labels, embeddings = batch(n)
        found = step(tf.constant(labels), tf.constant(embeddings, tf.float32))
        wanted = again.call(labels, embeddings, training=True)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for a, b in zip(layer.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_in_a_model_that_is_trained_and_saved(tmp_path):
    keras.utils.set_random_seed(0)
    layer = CrossBatchMemory(Contrastive(margin=0.7), 12, start=1)
    model = model_of(layer)
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(data(), epochs=20, verbose=0).history["loss"]
    assert int(layer.steps) == 20 and int(layer.remembered) == 19 * 8
    assert history[-1] < history[1]
    before = [w.copy() for w in layer.get_weights()]
    model.evaluate(data(), verbose=0)
    model(next(iter(data()))[0])  # no training, so nothing to remember
    for a, b in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    loaded.compile(keras.optimizers.SGD(0.01))
    model.compile(keras.optimizers.SGD(0.01))
    losses = [
        m.fit(data(), epochs=2, verbose=0).history["loss"] for m in (model, loaded)
    ]
    assert losses[0] == losses[1]
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss": keras.losses.MeanSquaredError()}, "MeanSquaredError: it compares no"),
        ({"size": 0}, "size=0"),
        ({"weight": -1.0}, "weight=-1.0"),
        ({"start": -1}, "start=-1"),
    ],
)
def test_wrong_arguments(arguments, words):
    given: Any = {"loss": Contrastive(), "size": 4, **arguments}
    with pytest.raises(UsageError, match=words):
        CrossBatchMemory(**given)


@pytest.mark.slow
def test_two_replicas_equal_one():
    """Losses, gradients and the memory itself, over several steps."""
    process = Fork(memory_replicas.main)
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-4000:]
    report = json.loads(output.splitlines()[-1])
    assert len(report) == 5
    for step, (found, wanted, gradient, *memories) in report.items():
        assert found == pytest.approx(wanted, rel=1e-5), step
        assert gradient < 1e-5, step
        assert memories == [0.0, 0.0], step
