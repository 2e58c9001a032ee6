from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.decoupling import (
    AdversaryDecoupling,
    HingeDecoupling,
    NoDecoupling,
    ReversalDecoupling,
)
from deml_tf.losses import SNR, LiftedStructure, NPairs
from deml_tf.losses.binomial_deviance import BinomialDeviance
from deml_tf.models.embedder import core_of
from deml_tf.training.batch_diagnostics import DIAGNOSTICS
from deml_tf.training.trainer import Trainer

LABELS = np.repeat(np.arange(4), 2).astype("int32")


def images():
    return np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32")


def trainer(
    decoupling=None,
    scales=1,
    learners=2,
    rate=0.1,
    precision="float32",
    loss=None,
    **arguments,
):
    """A tiny trainer under plain gradient descent, whose updates show gradients."""
    keras.utils.set_random_seed(1)
    embedder = build_tiny(
        batch_norm="frozen",
        input_size=32,
        resize_size=32,
        scales=scales,
        learners=learners,
        embedding_dim=16 * scales * learners,
        precision=precision,
    )
    if hasattr(decoupling, "predictors"):
        decoupling.predictors.optimizer = keras.optimizers.SGD(rate)
    loss = loss or BinomialDeviance()
    made = Trainer(core_of(embedder), loss, decoupling, **arguments)
    made.compile(keras.optimizers.SGD(rate))
    return made


def opponents(made):
    """Variables of the predictors, where there are any."""
    return made.decoupling.trainable_variables


def unit(x):
    return x / tf.norm(x, axis=-1, keepdims=True)


def naive_deviance(parts):
    """The formula of the metric loss, in loops over pairs."""
    total = 0.0
    for j in range(parts.shape[1]):
        same, other = [], []
        for p in range(len(LABELS)):
            for q in range(p + 1, len(LABELS)):
                s = tf.tensordot(parts[p, j], parts[q, j], 1)
                if LABELS[p] == LABELS[q]:
                    same.append(tf.math.log1p(tf.exp(-2.0 * (s - 0.5))))
                else:
                    other.append(tf.math.softplus(2.0 * 35.0 * (s - 0.5)))
        total += tf.add_n(same) / len(same) + tf.add_n(other) / len(other)
    return total / parts.shape[1]


def naive_hinge(parts):
    total = 0.0
    for a in range(parts.shape[1]):
        for b in range(a + 1, parts.shape[1]):
            distance = tf.norm(parts[:, a] - parts[:, b], axis=-1)
            total += tf.reduce_mean(0.5 * tf.nn.relu(2.0 - distance) ** 2)
    return total


def naive_adversary(adversary, parts):
    given = parts.dtype
    parts = tf.cast(parts, "float32")
    predictions, cosines = adversary(parts), []
    pairs = [(a, b) for a in range(2) for b in range(2) if a != b]
    for n, (_, b) in enumerate(pairs):
        target = tf.stop_gradient(unit(parts[:, b]))
        cosines.append(tf.reduce_sum(unit(predictions[:, n]) * target, -1))
    return tf.cast(1.0 - tf.reduce_mean(tf.stack(cosines)), given)


def naive_regularisers(made, outputs):
    decay = rows = 0.0
    kernel: Any
    for i, projection in enumerate(made.projections):
        kernel = tf.convert_to_tensor(projection.kernels[0])
        x = tf.stop_gradient(outputs["pooled"][:, i])
        decay += tf.reduce_mean(tf.reduce_sum((x @ kernel) ** 2, -1)) / kernel.shape[1]
        norms = tf.reduce_sum(kernel**2, 0)
        rows += 0.5 / kernel.shape[1] * tf.reduce_sum((norms - 1.0) ** 2)
    return decay, rows


def naive_adversaries(made, parts):
    """Of all scales."""
    pairs = zip(made.decoupling.predictors.adversaries, parts, strict=True)
    return tf.add_n([naive_adversary(a, p) for a, p in pairs])


def descend(variables, gradients, rate):
    for v, g in zip(variables, gradients, strict=True):
        v.assign_sub(rate * g)


def step_by_hand(made, rate):
    """What one train step should leave in every variable."""
    embedder, opponent = made.core.trainable_variables, opponents(made)
    decoupling = made.decoupling
    kind, weight = type(decoupling), decoupling.weight

    if kind is AdversaryDecoupling:
        parts = tf.unstack(made.core(images(), training=True)["parts"], axis=1)
        for _ in range(decoupling.steps):
            with tf.GradientTape() as tape:
                loss = naive_adversaries(made, [tf.stop_gradient(p) for p in parts])
            descend(opponent, tape.gradient(loss, opponent), rate)
    with tf.GradientTape(persistent=True) as tape:
        outputs = made.core(images(), training=True)
        parts = tf.unstack(outputs["parts"], axis=1)
        loss = tf.add_n([naive_deviance(p) for p in parts])
        decay, rows = naive_regularisers(made, outputs)
        loss += 0.014 * decay + rows
        adversary: Any = naive_adversaries(made, parts) if opponent else 0.0
        if kind is HingeDecoupling:
            loss += weight * tf.add_n([naive_hinge(p) for p in parts])
        elif kind is AdversaryDecoupling:
            loss -= weight * adversary
        elif kind is ReversalDecoupling:
            done = float(made.optimizer.iterations) / made.steps
            loss -= weight * (2.0 / (1.0 + np.exp(-10.0 * done)) - 1.0) * adversary
    descend(embedder, tape.gradient(loss, embedder), rate)
    if kind is ReversalDecoupling:
        descend(opponent, tape.gradient(adversary, opponent), rate)
    return [v.numpy() for v in embedder + opponent]


@pytest.mark.parametrize(
    "decoupling, scales",
    [
        (NoDecoupling, 1),
        (lambda: HingeDecoupling(3.0), 2),
        # Of 32, none predicts zero.
        (lambda: AdversaryDecoupling(0.5, steps=3, hidden=32), 2),
        (lambda: ReversalDecoupling(2.0, hidden=8), 1),
    ],
)
def test_a_step_is_the_algorithm(decoupling, scales):
    """In float64: float32's rounding grows from step to step."""
    rate = 0.01
    made, by_hand = (
        trainer(decoupling(), scales, rate=rate, precision="float64", steps=4)
        for _ in range(2)
    )
    data = (tf.constant(images()), tf.constant(LABELS))
    step = tf.function(made.train_step)
    before = [v.numpy() for v in made.core.trainable_variables]
    for iteration in range(2):  # the ramp is zero at the first
        step(data)
        by_hand.optimizer.iterations.assign(iteration)
        expected = step_by_hand(by_hand, rate)
    variables = made.core.trainable_variables + opponents(made)
    for variable, value in zip(variables, expected, strict=True):
        error = np.max(np.abs(variable.numpy() - value))
        assert error < 2e-5 * np.max(np.abs(value)), variable.path
    moved = [
        not np.array_equal(v.numpy(), b)
        for v, b in zip(made.core.trainable_variables, before, strict=True)
    ]
    assert all(moved)


def test_logs_are_the_unweighted_terms():
    made = trainer(HingeDecoupling(), scales=2)
    outputs = made.core(images(), training=True)
    parts = tf.unstack(outputs["parts"], axis=1)
    hinge = tf.add_n([naive_hinge(p) for p in parts])
    deviance = tf.add_n([naive_deviance(p) for p in parts])
    decay, rows = naive_regularisers(made, outputs)  # before a step moves the kernels
    wanted: Any = {
        "metric_loss": deviance,
        "hinge_loss": hinge,
        "activation_decay": decay,
        "unit_rows": rows,
        "loss": deviance + 0.2 * hinge + 0.014 * decay + rows,
    }
    logs = made.train_step((tf.constant(images()), tf.constant(LABELS)))
    for name, value in wanted.items():
        assert float(logs[name]) == pytest.approx(float(value), rel=1e-4), name
    weighted = sum(w * float(logs[n]) for n, w in made.term_weights.items())
    others = logs.keys() - made.term_weights.keys() - {"loss"}
    assert others == {*DIAGNOSTICS}
    assert float(logs["loss"]) == pytest.approx(weighted, rel=1e-5)


def test_one_learner_has_no_decoupling():
    made = trainer(AdversaryDecoupling(), learners=1)
    assert type(made.decoupling) is NoDecoupling and opponents(made) == []
    assert made.term_weights.keys() == {"metric_loss", "activation_decay", "unit_rows"}


def test_fit_lowers_the_loss():
    made = trainer(AdversaryDecoupling(hidden=8), rate=1e-4)
    data = tf.data.Dataset.from_tensors((images(), LABELS)).repeat(12)
    first = made.train_step((tf.constant(images()), tf.constant(LABELS)))
    quiet: Any = 0
    losses = made.fit(data, epochs=2, steps_per_epoch=6, verbose=quiet, shuffle=False)
    assert losses.history["metric_loss"][-1] < float(first["metric_loss"])


@pytest.mark.parametrize(
    ("loss", "other"),
    [
        (NPairs(norm_weight=0.0), NPairs(norm_weight=1e3)),
        (LiftedStructure(), LiftedStructure(normalise=True)),
        (SNR(normalise=False), SNR(normalise=True)),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_of_lengths_are_given_lengths(loss, other):
    """Parts have length 1: of these, both would train alike."""
    ends = []
    for each in (loss, other):
        made = trainer(scales=2, rate=1e-3, loss=each, unit_rows_weight=0.0)
        layers = [made.core.get_layer(f"scale{i}_projection") for i in (1, 2)]
        projected = keras.Model(made.core.input, [layer.output for layer in layers])
        wanted = sum(np.mean(each.call(LABELS, p)) for p in projected(images()))
        logged = made.train_step((tf.constant(images()), tf.constant(LABELS)))
        if each.takes_lengths:
            assert float(logged["metric_loss"]) == pytest.approx(wanted, rel=1e-4)
        ends.append(np.concatenate([np.ravel(p.kernels[0]) for p in layers]))
    assert np.abs(ends[0] - ends[1]).max() > 1e-6
