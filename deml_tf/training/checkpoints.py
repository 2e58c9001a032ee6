"""Checkpoints from which a killed training resumes bit for bit."""

import functools
import shutil
from pathlib import Path
from typing import cast

import keras
import tensorflow as tf

from deml_tf.cli import termination
from deml_tf.cli.error_text import first_sentence, no_room
from deml_tf.cli.printing import say
from deml_tf.config import TrainConfig
from deml_tf.errors import DataError
from deml_tf.runs.atomic import write_atomically
from deml_tf.training.workers import Workers


class Checkpoints(keras.callbacks.Callback):
    """Saves all of the trainer's state, the step and the choice so far.

    Batches and crops are functions of the seed and the step, so the step is all the
    input needs. TensorFlow writes a checkpoint's files first and then, in one atomic
    rename, the index that names it: a kill or a full disk at any moment leaves the
    previous checkpoint whole. It also keeps a checksum of every value, so a damaged
    checkpoint is noticed, and the previous one is used.

    After SIGTERM, on any of the workers, the step under way is the last one: it is
    saved, and the training ends on all of them.

    Args:
        folder: Where they are kept, the two newest.
        trainer: The compiled `Trainer`.
        train: `checkpoint_every`, the steps between checkpoints; `steps`, the last of
            which is saved as well.
        workers: Their writer saves; the others only restore.
        **state: Further trackable objects, by name.

    Attributes:
        leaving: Whether the training ended because of SIGTERM.
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
        # States of layers that draw random numbers (EfficientNet's dropout), which
        # Keras does not show to TensorFlow's checkpoints.
        draws = [v.value for v in trainer.variables if id(v) not in weights]
        self.parts = {
            "trainer": trainer,
            "draws": draws,
            "progress": self.progress,
            **state,
        }
        # Of layers in a list TensorFlow sees only what an optimizer trains.
        losses = getattr(trainer, "loss_layers", ())
        memories = [v.value for loss in losses for v in loss.non_trainable_variables]
        if memories:
            self.parts["memories"] = memories
        self.checkpoint = tf.train.Checkpoint(**self.parts)
        self.leaving = False
        self.folder = Path(folder)
        self.train = train
        self.workers = workers

    @functools.cached_property
    def manager(self) -> tf.train.CheckpointManager:
        """The manager, which saves, and removes all but the two newest."""
        # Built after `restore`, which rewrites the file that this reads.
        return tf.train.CheckpointManager(
            self.checkpoint, str(self.folder), max_to_keep=2
        )

    def restore(self) -> tuple[int, bool]:
        """Go back to the newest checkpoint that is whole.

        Returns:
            The step it was made at, 0 if there is none, and whether training had ended.

        Raises:
            DataError: There are checkpoints, but none can be read, or they are of
                another network.
        """
        found = _checkpoints(self.folder)
        if not found and self.workers.is_writer:
            (self.folder / "checkpoint").unlink(missing_ok=True)
        for number, path in enumerate(found):
            try:
                self._restore(path)
            except Exception as error:  # TensorFlow raises a dozen kinds of error
                if path == found[-1]:
                    raise DataError(
                        f"The checkpoint {found[0]} cannot be read or is of another "
                        f"network: remove {self.folder} to start anew."
                    ) from error
                if self.workers.is_writer:
                    say(
                        f"WARNING: the checkpoint {path} cannot be read "
                        f"({first_sentence(error)}) and is kept as {_set_aside(path)}; "
                        "the one before takes its place."
                    )
            else:
                if self.workers.is_writer:
                    for unread in found[:number]:  # they may be readable another time
                        for file in self.folder.glob(f"{Path(unread).name}.*"):
                            file.replace(_set_aside(file))
                    self._keep_only(found[number:])
                break
        return int(self.progress.step), bool(self.progress.stopped)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """End at once if all steps are done, or SIGTERM has come."""
        step = int(self.progress.step)
        self.leaving = self.workers.any(termination.asked())
        if self.leaving:
            self.model.stop_training = True
        elif step and (self.model.stop_training or step == self.train.steps):
            self.model.stop_training = True
            self._save(step, stopped=True)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Save every so many steps, at the end of training, and after SIGTERM."""
        self.progress.step.assign_add(1)
        step = int(self.progress.step)
        self.leaving = self.workers.any(termination.asked())
        # After SIGTERM, the last step may still have to be scored.
        last = step == self.train.steps and not self.leaving
        stopped = self.model.stop_training or last
        due = step % cast(int, self.train.checkpoint_every) == 0
        if self.leaving or stopped or due:
            self._save(step, stopped)
        if self.leaving:
            self.model.stop_training = True

    def _restore(self, path: str) -> None:
        tf.train.Checkpoint(**self.parts).restore(path).assert_consumed()

    def _save(self, step: int, stopped: bool) -> None:
        self.progress.stopped.assign(stopped)
        if not self.workers.is_writer:
            return
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
                f"{self.folder} ({words}), but {before}: free space and "
                "give the same command again."
            ) from error

    def _keep_only(self, newest_first: list[str]) -> None:
        """Remove all other checkpoints, and name these in the manager's file."""
        names = [Path(path).name for path in reversed(newest_first)]
        lines = [f'model_checkpoint_path: "{names[-1]}"']
        for time, name in enumerate(names, start=1):  # untimed, it is unmanaged
            lines.append(f'all_model_checkpoint_paths: "{name}"')
            lines.append(f"all_model_checkpoint_timestamps: {time}")
        write_atomically(self.folder / "checkpoint", "\n".join(lines).encode())
        self._sweep()

    def _sweep(self) -> None:
        """Remove what an unfinished checkpoint left behind."""
        whole = {Path(path).name for path in self.manager.checkpoints}
        for entry in self.folder.glob("*"):
            name = entry.name
            if name.startswith("checkpoint.tmp"):
                entry.unlink(missing_ok=True)
            elif name.startswith("ckpt-") and name.partition(".")[0] not in whole:
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


def _set_aside(path: str | Path) -> Path:
    """Return the new name of a checkpoint that cannot be read, or of a file of it."""
    return Path(path).with_name(f"unreadable-{Path(path).name}")


def _checkpoints(folder: Path) -> list[str]:
    """Find the checkpoints, the newest first.

    The index is written last, so a checkpoint that has one is complete. The file that
    names the checkpoints is not used: a kill may come before it is written.
    """
    found = [path.with_suffix("") for path in folder.glob("ckpt-*.index")]
    steps = {path: path.name.removeprefix("ckpt-") for path in found}
    numbered = [path for path in found if steps[path].isdecimal()]
    numbered.sort(key=lambda path: int(steps[path]), reverse=True)
    return [str(path) for path in numbered]
