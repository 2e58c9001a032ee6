"""The training loop: the same for one device, several, and several machines."""

import keras
import tensorflow as tf


def fit(trainer, batches, callbacks, strategy=None):
    """Trains for as many steps as there are batches, or until a callback stops it.

    Does to a `Trainer` what `trainer.fit` does, whose loop Keras 3 does not give to
    several workers: the same `train_step` on every replica, the same callbacks. The
    losses that `train_step` gives are equal on all replicas.

    Args:
        trainer: The compiled `Trainer`, built under the strategy.
        batches: Iterable of the images and labels of a step: a dataset of one
            replica's, or what the strategy has distributed.
        callbacks: Keras callbacks of this worker.
        strategy: A `tf.distribute.Strategy`; by default the present one.
    """
    strategy = strategy or tf.distribute.get_strategy()
    callbacks = keras.callbacks.CallbackList(callbacks, model=trainer)

    @tf.function(autograph=False)
    def step(data):
        losses = strategy.run(trainer.train_step, (data,))
        return {
            name: strategy.experimental_local_results(value)[0]
            for name, value in losses.items()
        }

    trainer.stop_training = False
    trainer.reset_metrics()
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    losses = {}
    for number, data in enumerate(batches):
        callbacks.on_train_batch_begin(number)
        losses = {name: float(value) for name, value in step(data).items()}
        callbacks.on_train_batch_end(number, losses)
        if trainer.stop_training:
            break
    callbacks.on_epoch_end(0, losses)
    callbacks.on_train_end(losses)
