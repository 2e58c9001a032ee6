"""The losses and diagnostics of a training, in files and for a tracker."""

import time
from collections.abc import Mapping

import keras
import tensorflow as tf

from deml_tf.config import TrainConfig
from deml_tf.runs.folder import RunFolder
from deml_tf.training.tracking import Forward
from deml_tf.training.workers import Workers


class Journal(keras.callbacks.Callback):
    """Logs means of losses and diagnostics over windows of `log_every` steps.

    The seconds of a window are those of its steps, including the wait for their images,
    but without validation and checkpoints. A window that is open when the training ends
    early is logged as well.

    Args:
        run: The run folder to write to.
        first_step: Steps done before this `fit`.
        train: Says the steps, batches and `log_every`.
        epoch_size: Number of images of the training set.
        workers: Only their writer writes. The others keep their windows in step with
            it, because all must reset a Keras metric together.
        forward: Function that is given the step and the numbers of each line as well;
            None, the default, for none.

    Attributes:
        images_per_second: In the present window, or in the last one if none is open.
    """

    def __init__(
        self,
        run: RunFolder,
        first_step: int,
        train: TrainConfig,
        epoch_size: int,
        workers: Workers,
        forward: Forward | None = None,
    ):
        super().__init__()
        self.run = run
        self.step = first_step
        self.train = train
        self.epoch_size = epoch_size
        self.writes = workers.is_writer
        self.forward = forward
        self.window = [0, 0.0]  # steps, seconds
        self.images_per_second = 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Open the TensorBoard log."""
        self.writer = tf.summary.create_noop_writer()
        if self.writes:
            path = str(self.run.tensorboard_path)
            self.writer = tf.summary.create_file_writer(path)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Start the clock: other callbacks are done, and the wait for images begins."""
        self.rate = self.model.optimizer.learning_rate  # that of this step
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Write a line at the end of each window."""
        passed = time.perf_counter() - self.began
        steps, seconds = self.window = [self.window[0] + 1, self.window[1] + passed]
        self.images_per_second = steps * self.train.batch_size / seconds
        self.step += 1
        if self.step % self.train.log_every and self.step != self.train.steps:
            return
        self._close_window(logs)
        self.model.reset_metrics()

    def write(self, record: Mapping[str, float]) -> None:
        """Write a record of the present step.

        Args:
            record: Numbers by name.
        """
        if not self.writes:
            return
        epoch = self.step * self.train.batch_size / self.epoch_size
        self.run.append_metrics({"step": self.step, "epoch": epoch, **record})
        with self.writer.as_default(step=self.step):
            for name, value in record.items():
                tf.summary.scalar(name, value)
        if self.forward is not None:
            self.forward(self.step, record)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Write what is left, and close the TensorBoard log."""
        if self.window[0]:
            self._close_window(logs)
        self.writer.close()

    def _close_window(self, logs: dict | None) -> None:
        record = {
            **{name: float(value) for name, value in (logs or {}).items()},
            "learning_rate": float(tf.convert_to_tensor(self.rate)),
            "seconds": self.window[1],
            "images_per_second": self.images_per_second,
        }
        self.write(record)
        self.window = [0, 0.0]
