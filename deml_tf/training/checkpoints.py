"""Checkpoints from which a killed training goes on bit for bit."""

import glob
import shutil
from pathlib import Path
from typing import cast

import keras
import tensorflow as tf

from deml_tf.cli.error_text import no_room
from deml_tf.config import TrainConfig
from deml_tf.errors import DataError
from deml_tf.training.workers import Workers


class Checkpoints(keras.callbacks.Callback):
    """Saves all of the trainer's state, the step and the choice so far.

    Batches and crops are functions of the seed and the step, so the step is all the
    input needs. TensorFlow writes a checkpoint's files first and then, in one atomic
    rename, the index that names it: a kill or a full disk at any moment leaves the one
    before whole.

    Args:
        folder: Where they are kept, the two newest.
        trainer: The compiled `Trainer`.
        train: `checkpoint_every`, the steps between checkpoints; `steps`, the last of
            which is saved as well.
        workers: The writer among them saves; the others only restore.
        **state: Further trackable objects, by name.
    """

    def __init__(
        self,
        folder: Path,
        trainer: keras.Model,
        train: TrainConfig,
        workers: Workers,
        **state: tf.train.Checkpoint,
    ):
        super().__init__()
        self.progress = tf.train.Checkpoint(
            step=tf.Variable(tf.constant(0, tf.int64), trainable=False),
            stopped=tf.Variable(tf.constant(False), trainable=False),
        )
        weights = {id(v) for v in trainer.weights}
        # States of layers that draw (EfficientNet's dropout), which Keras does not
        # show to TensorFlow's checkpoints.
        draws = [v.value for v in trainer.variables if id(v) not in weights]
        self.checkpoint = tf.train.Checkpoint(
            trainer=trainer, draws=draws, progress=self.progress, **state
        )
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, str(folder), max_to_keep=2
        )
        self.train = train
        self.workers = workers

    def restore(self) -> tuple[int, bool]:
        """Go back to the newest checkpoint.

        Returns:
            The step it was made at, 0 without one, and whether training had ended.

        Raises:
            DataError: There is one, but it cannot be read or is of another network.
        """
        folder = self.manager.directory
        latest = self.manager.latest_checkpoint or _newest_whole(folder)
        if latest:
            try:
                self.checkpoint.restore(latest).assert_consumed()
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                raise DataError(
                    f"The checkpoint {latest} cannot be read or is of another network: "
                    f"remove {folder} to start anew."
                ) from error
            if self.workers.is_writer:
                self._sweep(Path(latest).name)
        return int(self.progress.step), bool(self.progress.stopped)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Save every so many steps, and where the training ends."""
        self.progress.step.assign_add(1)
        step = int(self.progress.step)
        stopping = self.model.stop_training or step == self.train.steps
        if stopping or step % cast(int, self.train.checkpoint_every) == 0:
            self.progress.stopped.assign(stopping)
            if self.workers.is_writer:
                self._save(step)

    def _save(self, step: int) -> None:
        try:
            self.manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            self._sweep()
            words = no_room(error)
            if not words:
                raise
            latest = self.manager.latest_checkpoint
            before = "there is none before it, so training will begin anew"
            if latest:
                before = f"that of step {latest.rpartition('-')[2]} is whole"
            raise DataError(
                f"The checkpoint of step {step} could not be written into "
                f"{self.manager.directory} ({words}), but {before}: free space and "
                "give the same command again."
            ) from error

    def _sweep(self, *kept: str) -> None:
        """Remove what a checkpoint that was not finished leaves behind."""
        folder = Path(self.manager.directory)
        whole = {Path(path).name for path in self.manager.checkpoints} | {*kept}
        for entry in folder.glob("*"):
            name = entry.name
            if name.startswith("checkpoint.tmp"):
                entry.unlink(missing_ok=True)
            elif name.startswith("ckpt-") and name.partition(".")[0] not in whole:
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


def _newest_whole(folder: str) -> str | None:
    """Find the newest checkpoint if a kill came before the file that names it.

    An index is written last, so what has one is whole.
    """
    found = [Path(path) for path in glob.glob(f"{glob.escape(folder)}/ckpt-*.index")]
    steps = {
        int(path.stem.removeprefix("ckpt-")): str(path.with_suffix(""))
        for path in found
        if path.stem.removeprefix("ckpt-").isdecimal()
    }
    return steps[max(steps)] if steps else None
