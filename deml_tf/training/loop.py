"""The training loop: the same for one device, several, and several machines."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf


def fit(
    trainer: keras.Model,
    batches: Iterable[Any],
    callbacks: Sequence[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Train for as many steps as there are batches, or until a callback stops it.

    This does for a `Trainer` what `trainer.fit` does, whose loop Keras 3 does not offer
    to several workers: the same `train_step` on every replica, the same callbacks. The
    losses that `train_step` returns are equal on all replicas. As in `trainer.fit`,
    `on_train_batch_begin` is called before the wait for the step's images, and
    therefore once more after the last step. Unlike there, a callback may stop the
    training before the first step.

    Args:
        trainer: The compiled `Trainer`, built under the strategy.
        batches: Iterable of each step's images and labels: a dataset for one replica,
            or what the strategy has distributed.
        callbacks: Keras callbacks of this worker.
        strategy: A `tf.distribute.Strategy`; by default the present one.
    """
    strategy = strategy or tf.distribute.get_strategy()
    called = keras.callbacks.CallbackList(list(callbacks), model=trainer)

    @tf.function(autograph=False)
    def step(data: Any) -> dict[str, tf.Tensor]:
        losses = strategy.run(trainer.train_step, (data,))
        return {
            name: strategy.experimental_local_results(value)[0]
            for name, value in losses.items()
        }

    trainer.stop_training = False
    trainer.reset_metrics()
    called.on_train_begin()
    called.on_epoch_begin(0)
    losses, waiting = {}, iter(() if trainer.stop_training else batches)
    for number in itertools.count():
        if trainer.stop_training:
            break
        called.on_train_batch_begin(number)
        data = next(waiting, None)
        if data is None:
            break
        losses = {name: float(value) for name, value in step(data).items()}
        called.on_train_batch_end(number, losses)
    called.on_epoch_end(0, losses)
    called.on_train_end(losses)
