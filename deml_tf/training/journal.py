"""Writes the losses to metrics.jsonl and TensorBoard."""

import time

import keras
import tensorflow as tf


class Journal(keras.callbacks.Callback):
    """Logs means of the losses over windows of `every` steps.

    Args:
        run: The `RunFolder`.
        first_step: Steps done before this `fit`.
        last_step: Steps of the whole training; ends a window as well.
        every: Steps of a window.
        batch_size: Images a step.
        epoch_size: Images of the training set.
        writes: Whether this worker is the one that writes. The others only begin
            their windows with it, for resetting a mean takes all of them.
    """

    def __init__(
        self,
        run,
        first_step,
        last_step,
        every,
        batch_size,
        epoch_size,
        writes=True,
    ):
        super().__init__()
        self.run = run
        self.step = first_step
        self.last_step = last_step
        self.every = every
        self.batch_size = batch_size
        self.epoch_size = epoch_size
        self.writes = writes
        self.window = [0, 0.0]  # steps, seconds

    def on_train_begin(self, logs=None):
        """Opens the TensorBoard log."""
        self.writer = tf.summary.create_noop_writer()
        if self.writes:
            path = str(self.run.tensorboard_path)
            self.writer = tf.summary.create_file_writer(path)

    def on_train_batch_begin(self, batch, logs=None):
        """Starts the clock, which thus leaves out validation and checkpoints."""
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Writes a line at the end of each window."""
        passed = time.perf_counter() - self.began
        self.window = [self.window[0] + 1, self.window[1] + passed]
        self.step += 1
        if self.step % self.every and self.step != self.last_step:
            return
        steps, seconds = self.window
        record = {
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": float(
                tf.convert_to_tensor(self.model.optimizer.learning_rate)
            ),
            "seconds": seconds,
            "images_per_second": steps * self.batch_size / seconds,
        }
        self.write(record)
        self.model.reset_metrics()
        self.window = [0, 0.0]

    def write(self, record):
        """Adds a record of the present step."""
        if not self.writes:
            return
        epoch = self.step * self.batch_size / self.epoch_size
        self.run.append_metrics({"step": self.step, "epoch": epoch, **record})
        with self.writer.as_default(step=self.step):
            for name, value in record.items():
                tf.summary.scalar(name, value)

    def on_train_end(self, logs=None):
        """Closes the TensorBoard log."""
        self.writer.close()
