"""Checkpoints from which a killed training goes on bit for bit."""

import keras
import tensorflow as tf


class Checkpoints(keras.callbacks.Callback):
    """Saves weights, both optimizers, the step and the choice so far.

    Batches and crops are functions of the seed and the step, so the step is all the
    input needs. TensorFlow writes a checkpoint's files first and then, in one atomic
    rename, the index that names it: a kill at any moment leaves the one before whole.

    Args:
        folder: Where they are kept, the two newest.
        trainer: The compiled `Trainer`.
        every: Steps between checkpoints.
        last_step: Steps of the whole training; saved as well.
        **state: Further trackable objects.
    """

    def __init__(self, folder, trainer, every, last_step, **state):
        super().__init__()
        adversaries = {a.name: a for a in trainer.adversaries}
        if adversaries:
            adversaries["adversary_optimizer"] = trainer.adversary_optimizer
        self.progress = tf.train.Checkpoint(
            step=tf.Variable(tf.constant(0, tf.int64), trainable=False),
            stopped=tf.Variable(tf.constant(False), trainable=False),
        )
        self.checkpoint = tf.train.Checkpoint(
            core=trainer.core,
            optimizer=trainer.optimizer,
            progress=self.progress,
            **adversaries,
            **state,
        )
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, str(folder), max_to_keep=2
        )
        self.every = every
        self.last_step = last_step

    def restore(self):
        """Goes back to the newest checkpoint.

        Returns:
            The step it was made at, 0 without one, and whether training had ended.
        """
        if self.manager.latest_checkpoint:
            status = self.checkpoint.restore(self.manager.latest_checkpoint)
            status.assert_consumed()
        return int(self.progress.step), bool(self.progress.stopped)

    def on_train_batch_end(self, batch, logs=None):
        """Saves every so many steps, and where the training ends."""
        self.progress.step.assign_add(1)
        step = int(self.progress.step)
        stopping = self.model.stop_training or step == self.last_step
        if stopping or step % self.every == 0:
            self.progress.stopped.assign(stopping)
            self.manager.save(checkpoint_number=step)
