"""The learning rate as a function of the step."""

from typing import Any

import keras
import tensorflow as tf

from deml_tf.config import TrainConfig

_SCHEDULES = keras.optimizers.schedules


class WarmUp(_SCHEDULES.LearningRateSchedule):
    """Raise a learning rate linearly from 0, then follow another schedule.

    Args:
        learning_rate: A float, or a schedule, which runs from step 0.
        warmup_steps: Steps until the full rate is reached, at least 1.
    """

    def __init__(self, learning_rate: Any, warmup_steps: int):
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate of a step, counted from 0."""
        rate: Any = self.learning_rate
        if isinstance(rate, _SCHEDULES.LearningRateSchedule):
            rate = rate(step)
        done = tf.cast(step, tf.float32) / self.warmup_steps
        return rate * tf.minimum(done, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
        }


def build_learning_rate(train: TrainConfig) -> Any:
    """Build the learning rate of a training.

    It depends only on the number of the step, so a resumed training continues with the
    rate that an uninterrupted one would have.

    Args:
        train: Says learning rate, schedule, warm-up and steps.

    Returns:
        A float or a schedule of Keras.
    """
    rate: Any = train.learning_rate
    if train.schedule == "cosine":
        return _SCHEDULES.CosineDecay(
            0.0 if train.warmup_steps else rate,
            train.steps - train.warmup_steps,
            warmup_target=rate if train.warmup_steps else None,
            warmup_steps=train.warmup_steps,
        )
    if train.schedule == "step":
        rate = _SCHEDULES.PiecewiseConstantDecay(
            [n - 1 for n in train.decay_steps],  # the last step of each rate, for Keras
            [rate * train.decay_rate**n for n in range(len(train.decay_steps) + 1)],
        )
    return WarmUp(rate, train.warmup_steps) if train.warmup_steps else rate
