"""The learning rate of each step."""

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.config import TrainConfig
from deml_tf.errors import UsageError
from deml_tf.training.build import build_optimizer
from deml_tf.training.start import check_optimizer, check_schedule

STEPS = 20


def naive(step, schedule, warmup):
    """Of 1, by the definitions."""
    rate = min(1.0, step / warmup) if warmup else 1.0
    if schedule == "step":
        rate *= 0.5 ** sum(step >= boundary for boundary in (6, 12))
    if schedule == "cosine" and step > warmup:
        rate *= (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2
    return rate


def of(schedule, warmup):
    return TrainConfig(
        steps=STEPS,
        learning_rate=0.1,
        schedule=schedule,
        warmup_steps=warmup,
        decay_steps=(6, 12) if schedule == "step" else (),
        decay_rate=0.5,
    )


@pytest.mark.parametrize("warmup", [0, 1, 8])
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_rates_of_all_steps(schedule, warmup):
    """In a graph, by the optimizer's own count of steps, from any of them."""
    train = of(schedule, warmup)
    check_schedule(train)
    optimizer: Any = build_optimizer(train, [])
    variable = keras.Variable([1.0])
    optimizer.build([variable])

    @tf.function(autograph=False)
    def step():
        rate = optimizer._get_current_learning_rate()
        optimizer.apply([tf.zeros([1])], [variable])
        return rate

    found = [float(step()) for _ in range(STEPS)]
    want = [0.1 * naive(n, schedule, warmup) for n in range(STEPS)]
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-8)
    optimizer.iterations.assign(11)  # as a checkpoint does
    assert [float(step()) for _ in range(11, STEPS)] == found[11:]


def test_what_the_optimizer_is_told():
    adam, adamw = (
        build_optimizer(TrainConfig(optimizer=o), []) for o in ("adam", "adamw")
    )
    assert (adam.l2, adam.weight_decay) == (2e-4, None)
    assert (adamw.l2, adamw.weight_decay) == (0.0, 0.01)
    both = TrainConfig(optimizer="adamw", weight_decay=0.3, l2=0.1)
    check_optimizer(both)
    made = build_optimizer(both, [])
    assert (made.l2, made.weight_decay) == (0.1, 0.3)


def test_what_does_not_fit():
    for train, words in (
        (of("cosine", STEPS), "warmup_steps=20: it must be below steps=20."),
        (TrainConfig(schedule="cosine", decay_steps=(5,)), "not for schedule=cosine"),
    ):
        with pytest.raises(UsageError, match=words):
            check_schedule(train)
    with pytest.raises(UsageError, match="weight_decay=0.1 is not for optimizer=adam"):
        check_optimizer(TrainConfig(weight_decay=0.1))
