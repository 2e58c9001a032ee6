"""A training session: its data, its embedder, and its steps."""

import dataclasses

import keras
import tensorflow as tf

from deml_tf.cli import termination
from deml_tf.cli.error_text import is_lost, service_error
from deml_tf.cli.printing import say
from deml_tf.config import Configs
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import batch_files, class_ids, training_dataset
from deml_tf.data.images import explain_unreadable
from deml_tf.data.object_crops import crop_to_boxes
from deml_tf.data.scan import find_bad, take_out_bad
from deml_tf.data.selection import fill_batches, read_split, run_split
from deml_tf.data.split_record import split_digest, write_record
from deml_tf.data.splits import ROLES, Split, check_batches
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import build_embedder, geometry_of
from deml_tf.retrieval.score_images import embedding_of
from deml_tf.runs.files import REPLICAS
from deml_tf.runs.folder import BAD_IMAGES, RunFolder
from deml_tf.training import loop
from deml_tf.training.best_step import ChooseBestStep, check_patience
from deml_tf.training.build import build_augmentation, build_trainer
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.collapse import WarnOfCollapse
from deml_tf.training.journal import Journal
from deml_tf.training.non_finite import StopOnNonFinite
from deml_tf.training.progress import ProgressBar
from deml_tf.training.tracking import Forward
from deml_tf.training.trainer import Trainer
from deml_tf.training.workers import Workers


@dataclasses.dataclass(frozen=True)
class Session:
    """What a training works on.

    Attributes:
        configs: The run's settings.
        run: Its folder.
        workers: This worker among all of them.
        split: Seen and unseen images.
        embedder: What is trained.
        trainer: What trains it.
    """

    configs: Configs
    run: RunFolder
    workers: Workers
    split: Split
    embedder: keras.Model
    trainer: Trainer

    @classmethod
    def build(cls, configs: Configs, run: RunFolder, workers: Workers) -> "Session":
        """Read the data and build the trainer.

        Args:
            configs: The run's settings.
            run: Its open folder.
            workers: This worker among all of them.

        Returns:
            The session, before its first step.
        """
        # Asked only once, since the writer soon writes the record.
        begun = run.split_path.exists()
        split = _read_split(configs, run, begun)
        with workers.strategy.scope():
            # Built before the images are checked, which may take hours, since its
            # weights may be missing or not fit.
            embedder = build_embedder(configs.model, configs.train.seed)
        if configs.loss.pairs == "replica":
            _keep_replicas(run, workers, begun)
        split = _check_images(split, configs, run, workers, begun)
        _, classes = class_ids(split.train)
        with workers.strategy.scope():
            trainer = build_trainer(embedder, configs.loss, configs.train, len(classes))
        return cls(configs, run, workers, split, embedder, trainer)

    def fit(
        self, data_service: str | None = None, forward: Forward | None = None
    ) -> None:
        """Train from the newest checkpoint to the last step, and keep the best step.

        Args:
            data_service: Address of a tf.data service that reads the images.
            forward: A tracker's function, see `Journal`.
        """
        train = self.configs.train
        choice = ChooseBestStep(
            self.embedder,
            self.split.validation,
            train,
            embedding_of(self.embedder, self.configs.score),
            self.workers,
        )
        checkpoints = Checkpoints(
            self.run.checkpoints_path,
            self.trainer,
            train,
            self.workers,
            choice=choice.state,
            kept=choice.kept,
        )
        first_step, ended = checkpoints.restore()
        self._check_shared_folder(first_step)
        if first_step and self.workers.is_writer:
            say(f"Going on from step {first_step} of {train.steps}.")
        if not ended:
            if self.workers.is_writer:
                self.run.truncate_metrics(first_step)
            with termination.deferred():
                self._run_steps(first_step, choice, checkpoints, data_service, forward)
                if checkpoints.leaving:
                    # One that leaves before the writer has saved would count as lost.
                    self.workers.leave()
            if checkpoints.leaving:  # SIGTERM may have come to another worker
                raise termination.Terminated
        if self.split.validation and self.workers.is_writer:
            choice.take_best()
            if why := choice.why_stopped():
                say(why)
            say(
                f"Best step: {int(choice.state.best_step)}, MAP@R "
                f"{float(choice.state.best):.3f} on the validation classes."
            )

    def _run_steps(
        self,
        first_step: int,
        choice: ChooseBestStep,
        checkpoints: Checkpoints,
        data_service: str | None,
        forward: Forward | None,
    ) -> None:
        train, workers, images = self.configs.train, self.workers, self.split.train
        sizes = (train.classes_per_batch, train.images_per_class)
        table = BatchTable(class_ids(images)[0], *sizes, train.seed)
        augmentation = build_augmentation(train)

        def files_of(step: int) -> list[str]:
            return batch_files(images, table, step)

        def read(share: tuple[int, int, int]) -> tf.data.Dataset:
            return training_dataset(
                images,
                table,
                **dataclasses.asdict(geometry_of(self.embedder)),
                first_step=first_step,
                last_step=train.steps,
                seed=train.seed,
                augmentation=augmentation,
                share=share,
                service=data_service,
            )

        journal = Journal(self.run, first_step, train, len(images), workers, forward)
        choice.begin(first_step, journal.write)
        bar = ProgressBar(first_step, train, journal)
        callbacks = [
            StopOnNonFinite(first_step, files_of),
            journal,
            *([choice] if self.split.validation else []),
            checkpoints,
            *([bar, WarnOfCollapse(first_step, train)] if workers.is_writer else []),
        ]
        try:
            batches = workers.distribute(read, table.batch_size)
            loop.fit(self.trainer, batches, callbacks, workers.strategy)
        except tf.errors.OpError as error:
            # Raised when the batch after the last finished step is consumed.
            found = explain_unreadable(files_of(int(checkpoints.progress.step)), error)
            if found is error:
                if workers.cluster.size > 1 and is_lost(error):
                    raise
                found = service_error(error) or error
            raise found from error
        finally:
            bar.stop()

    def _check_shared_folder(self, first_step: int) -> None:
        """Refuse to resume unless all workers have the writer's step and images."""
        agreed = self.workers.agree(first_step)
        if agreed != first_step:
            raise UsageError(
                f"run_dir={self.run.path} holds a checkpoint of step {first_step} for "
                f"worker {self.workers.cluster.rank} and one of step {agreed} for the "
                "first: name a folder that all workers share."
            )
        number = int(split_digest(self.split)[:15], 16)
        if self.workers.agree(number) != number:
            raise UsageError(
                f"data_dir={self.configs.data.data_dir} holds other images for worker "
                f"{self.workers.cluster.rank} than for the first: give all workers the "
                "same data set."
            )


def _keep_replicas(run: RunFolder, workers: Workers, begun: bool) -> None:
    """Refuse to resume with another number of replicas: it would form other pairs."""
    is_kept = (run.path / REPLICAS).exists()  # earlier versions kept none
    if begun and is_kept:
        before = run.read_json(REPLICAS)["replicas"]
        if before != workers.replicas:
            raise UsageError(
                f"pairs=replica: the run was begun on {before} replicas, and here are "
                f"{workers.replicas}, which form other pairs: use {before}, or train "
                "anew with another run_dir=FOLDER."
            )
    elif workers.is_writer:
        run.write_json(REPLICAS, {"replicas": workers.replicas})


def _read_split(configs: Configs, run: RunFolder, begun: bool) -> Split:
    """Read which images the run has, not yet whether they can be read."""
    data, train = configs.data, configs.train
    if begun:
        return run_split(run.split_path, data, train.seed)
    split = read_split(data, train.seed)
    check_patience(train, bool(split.validation))
    # Leaving out bad images can only make the classes fewer and smaller.
    check_batches(split.train, train.classes_per_batch, train.images_per_class)
    return split


def _check_images(
    split: Split, configs: Configs, run: RunFolder, workers: Workers, begun: bool
) -> Split:
    """Take out bad images, and classes that are too small; or refuse them."""
    data, train = configs.data, configs.train
    if begun:
        _refuse_bad(split)
    else:
        split = take_out_bad(
            split, data.bad_images, run.path / BAD_IMAGES, workers.is_writer
        )
        split = fill_batches(split, train.classes_per_batch, train.images_per_class)
        if workers.is_writer:
            write_record(run.split_path, split, data)
    return crop_to_boxes(split, data)


def _refuse_bad(split: Split) -> None:
    """Refuse to resume with fewer images than the run was begun with."""
    paths = [e.path for role in ROLES for e in getattr(split, role)]
    bad = find_bad(paths)
    for path, reason in bad.items():
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise DataError(
            f"The run was begun with the image {path}, which cannot be read now "
            f"({reason}){more}: put back what is missing, or train again with another "
            "run_dir=FOLDER."
        )
