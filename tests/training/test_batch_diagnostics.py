import keras
import numpy as np
import pytest
import tensorflow as tf
from proxies import Proxies
from small_backbone import build_tiny

from deml_tf.decoupling import AdversaryDecoupling
from deml_tf.losses import BinomialDeviance, CrossBatchMemory, Triplet
from deml_tf.models.embedder import core_of
from deml_tf.retrieval import diagnostics
from deml_tf.training.batch_diagnostics import embedding_spread, learner_cosine
from deml_tf.training.trainer import Trainer

LABELS = tf.constant([0, 0, 1, 1, 2, 2])


def units(*shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape).astype("f4")
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def trainer(loss=None, learners=2, decoupling=None):
    keras.utils.set_random_seed(0)
    core = core_of(build_tiny(scales=2, learners=learners))
    made = Trainer(core, loss or BinomialDeviance(), decoupling)
    made.compile(keras.optimizers.Adam(1e-3))
    return made


def batch():
    random = np.random.default_rng(1)
    colours = random.uniform(0, 255, (6, 1, 1, 3))
    images = colours * random.uniform(0, 1, (6, 40, 40, 3))
    return tf.constant(images, tf.float32), LABELS


def test_spread_is_that_of_the_scores():
    embeddings = units(9, 4) + np.array([0.5, 0, 0, 0], "f4")
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    expected = diagnostics.embedding_spread(embeddings)
    found = embedding_spread(tf.constant(embeddings))
    np.testing.assert_allclose(found, [*expected.values()], rtol=1e-4)
    mean = embeddings.mean(axis=0)
    assert float(found[0]) == pytest.approx(1 - mean @ mean, rel=1e-4)


def test_equal_embeddings_have_no_spread():
    same = tf.constant(units(1, 512).repeat(64, axis=0), tf.float32)
    variance, rank = embedding_spread(same)
    assert float(variance) == pytest.approx(0, abs=1e-11) and float(rank) == 0
    assert np.all(np.isnan(embedding_spread(same * np.nan)))


def test_cosine_is_that_of_the_scores():
    parts = units(5, 2, 3, 4)
    expected = np.mean(np.array(diagnostics.learner_cosine(parts)))
    assert float(learner_cosine(tf.constant(parts))) == pytest.approx(
        expected, abs=1e-6
    )


def test_a_step_logs_them_of_the_embeddings_before_it():
    made = trainer()
    outputs = made.core(batch()[0], training=True)
    logs = made.train_step(batch())
    variance, rank = embedding_spread(outputs["embedding"])
    assert float(logs["embedding_variance"]) == pytest.approx(float(variance), rel=1e-4)
    assert float(logs["effective_rank"]) == pytest.approx(float(rank), rel=1e-4)
    cosine = float(learner_cosine(outputs["parts"]))
    assert float(logs["learner_cosine"]) == pytest.approx(cosine, abs=1e-5)
    same = tf.constant(np.tile(units(1, 1, 6, seed=2), (6, 2, 1)))
    flat = 2 * float(tf.reduce_mean(BinomialDeviance().call(LABELS, same)))
    distance = abs(float(logs["metric_loss"]) - flat) / flat
    assert float(logs["flat_point_distance"]) == pytest.approx(distance, rel=1e-4)
    assert 0.01 < distance


@pytest.mark.parametrize(
    "loss, learners, absent",
    [
        (None, 1, {"learner_cosine"}),
        (Triplet(margin=0.0), 2, {"flat_point_distance"}),
        (
            [Proxies(num_classes=3, name=f"s{i}") for i in "12"],
            2,
            {"flat_point_distance"},
        ),
        (
            [CrossBatchMemory(BinomialDeviance(), 8, name=f"s{i}") for i in "12"],
            1,
            {"flat_point_distance", "learner_cosine"},
        ),
    ],
)
def test_what_has_no_meaning_is_not_logged(loss, learners, absent):
    shown = {"embedding_variance", "effective_rank", "learner_cosine"}
    shown |= {"flat_point_distance"}
    names = {m.name for m in trainer(loss, learners).metrics}
    assert shown - names == absent


@pytest.mark.slow
def test_they_leave_the_weights_as_they_are(monkeypatch):
    def weights(made):
        step = tf.function(made.train_step, autograph=False)
        for _ in range(3):
            step(batch())
        return made.get_weights()

    found = weights(trainer(decoupling=AdversaryDecoupling(hidden=8)))
    without = trainer(decoupling=AdversaryDecoupling(hidden=8))
    without.has_flat_point = False
    monkeypatch.setattr(without, "_diagnostics", lambda *given: {})
    for a, b in zip(found, weights(without), strict=True):
        np.testing.assert_array_equal(a, b)
