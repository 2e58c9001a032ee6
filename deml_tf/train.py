"""Trains an embedder: `python -m deml_tf.train --flagfile=configs/NAME.cfg`."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import flags

from deml_tf.cli import command
from deml_tf.cli.error_text import is_lost, service_error
from deml_tf.cli.flags import (
    as_flags,
    define_flags,
    from_flags,
    read_configs,
)
from deml_tf.config import CONFIGS, DistributionConfig
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import (
    batch_files,
    class_ids,
    training_dataset,
)
from deml_tf.data.images import explain_unreadable
from deml_tf.data.scan import take_out_bad
from deml_tf.data.selection import fill_batches, read_split
from deml_tf.data.service import check_service
from deml_tf.data.sets import find_set
from deml_tf.errors import UsageError
from deml_tf.kernels.cpu_gradients import use_cpu_gradients
from deml_tf.losses.binomial_deviance import BinomialDeviance
from deml_tf.models.embedder import build_deml, core_of, geometry_of
from deml_tf.reports.comparison import comparison_table
from deml_tf.runs.folder import BAD_IMAGES, RunFolder
from deml_tf.training import loop, lost_worker
from deml_tf.training.best_step import ChooseBestStep
from deml_tf.training.checkpoints import Checkpoints
from deml_tf.training.cluster import read_cluster
from deml_tf.training.feed import distribute
from deml_tf.training.final_scores import finish
from deml_tf.training.journal import Journal
from deml_tf.training.non_finite import StopOnNonFinite
from deml_tf.training.optimizer import GroupedAdam
from deml_tf.training.progress import ProgressBar
from deml_tf.training.strategy import build_strategy, check_batches, chief_says
from deml_tf.training.trainer import Trainer

BEST = "best.weights.h5"


def main(arguments):
    """Reads the flags, trains, scores and reports."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    configs = read_configs(flags.FLAGS)
    devices = from_flags(DistributionConfig, flags.FLAGS)
    cluster = read_cluster()
    data, model, loss, train, score = configs
    _require(dataset=data.dataset)
    if find_set(data.dataset).needs_data_dir:
        _require(data_dir=data.data_dir)
    _require(run_dir=train.run_dir)

    _check_schedule(train)

    finished = RunFolder(str(train.run_dir)).finished
    if finished and not cluster.is_chief:
        return  # the chief says so
    if devices.data_service is not None and not finished:
        check_service(devices.data_service)
    batches = (train.classes_per_batch, train.images_per_class, loss.pairs)
    if devices.logical_cpus:  # so many devices take their time to make
        check_batches(devices.logical_cpus * cluster.size, *batches)
    if cluster.size > 1:
        print(f"Worker {cluster.rank} of {cluster.size}: waiting for all.", flush=True)
    strategy = build_strategy(devices.strategy, devices.logical_cpus, cluster)
    check_batches(strategy.num_replicas_in_sync, *batches)
    with lost_worker.explained(cluster):
        results = train_and_score(configs, strategy, cluster, devices.data_service)
    if results:
        name = Path(str(train.run_dir)).name
        command.console().print(comparison_table([(name, results)]))
        print(f"Report: {RunFolder(str(train.run_dir)).report_path}")


def train_and_score(configs, strategy, cluster, data_service=None):
    """A worker's whole training; the chief writes the run and scores it.

    Args:
        configs: The run's `Configs`.
        strategy: Of `build_strategy`.
        cluster: This worker among the others.
        data_service: Address of a tf.data service that reads the images.

    Returns:
        What `results.json` holds; None for the other workers, and where the run was
        finished before.
    """
    data, model, loss, train, score = configs
    run = RunFolder(str(train.run_dir))
    if cluster.is_chief:
        run = RunFolder.open(run.path, as_flags(*configs))
        if run.finished:
            print(f"{run.path} is finished: see {run.report_path}.")
            return None
    with run.undone_on_error():
        set_up(train)
        split = read_split(data, train.seed)
        split = take_out_bad(
            split, data.bad_images, run.path / BAD_IMAGES, cluster.is_chief
        )
        split = fill_batches(split, train.classes_per_batch, train.images_per_class)
        if train.patience and not split.validation:
            raise UsageError(
                f"--patience={train.patience} needs validation classes: give "
                "--validation_classes=0.1, or leave --patience out."
            )
        with strategy.scope():
            embedder = build_deml(**dataclasses.asdict(model), seed=train.seed)
            if tf.config.list_physical_devices("GPU"):
                use_cpu_gradients(core_of(embedder), False)
            trainer = build_trainer(embedder, loss, train)
    fit(run, trainer, embedder, split, train, score, strategy, cluster, data_service)
    results = None
    if cluster.is_chief:
        replicas = strategy.num_replicas_in_sync
        results = finish(run, embedder, split, configs, replicas)
    # A worker that left before the chief is done would be taken for a lost one.
    chief_says(strategy, cluster, 0)
    return results


def set_up(train):
    """Seeds and determinism, before any variable exists."""
    keras.utils.set_random_seed(train.seed)
    if train.deterministic:
        tf.config.experimental.enable_op_determinism()


def build_trainer(embedder, loss, train):
    """The compiled trainer around the embedder's core."""
    core = core_of(embedder)
    baseline = core.output["parts"].shape[1:3] == (1, 1)
    opponent = {"steps": 1, "learning_rate": 1e-3, "hidden": 256}
    opponent |= loss.decoupling_arguments
    trainer = Trainer(
        core,
        BinomialDeviance(
            **(BinomialDeviance.BASELINE if baseline else {}) | loss.loss_arguments,
            pairs=loss.pairs,
        ),
        decoupling=loss.decoupling,
        decoupling_weight=loss.decoupling_weight,
        adversary_steps=opponent["steps"],
        adversary_hidden=opponent["hidden"],
        ramp_steps=train.steps,
        activation_decay_weight=loss.activation_decay_weight,
        unit_rows_weight=loss.unit_rows_weight,
    )
    rate: Any = train.learning_rate
    if train.schedule == "step":
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            list(train.decay_steps),
            [rate * train.decay_rate**n for n in range(len(train.decay_steps) + 1)],
        )
    head = r"_(projection|channel_attention)/"
    bias = r"(bias|beta)[^/]*$"
    trainer.compile(
        GroupedAdam(
            rate,
            {
                f"{head}.*{bias}": train.head_multiplier * train.bias_multiplier,
                head: train.head_multiplier,
                bias: train.bias_multiplier,
            },
            l2=train.l2,
            epsilon=1e-8,
            global_clipnorm=train.clip_norm,
        ),
        keras.optimizers.Adam(opponent["learning_rate"]),
    )
    return trainer


def fit(
    run, trainer, embedder, split, train, score, strategy, cluster, data_service=None
):
    """Trains from the newest checkpoint to the last step, and keeps the best one."""
    geometry = geometry_of(embedder)
    labels, _ = class_ids(split.train)
    table = BatchTable(
        labels, train.classes_per_batch, train.images_per_class, train.seed
    )
    best = run.path / BEST
    choice = ChooseBestStep(
        embedder,
        split.validation,
        best,
        every=train.evaluate_every,
        last_step=train.steps,
        patience=train.patience,
        decide=functools.partial(chief_says, strategy, cluster),
        scores=cluster.is_chief,
        resize_size=geometry.resize_size,
        fit=geometry.fit,
        batch_size=score.scoring_batch_size,
    )
    checkpoints = Checkpoints(
        run.checkpoints_path,
        trainer,
        train.checkpoint_every,
        train.steps,
        writes=cluster.is_chief,
        choice=choice.state,
    )
    first_step, ended = checkpoints.restore()
    _check_shared(first_step, run, strategy, cluster)
    if first_step and cluster.is_chief:
        print(f"Going on from step {first_step} of {train.steps}.")
    if not ended:

        def files_of(step):
            return batch_files(split.train, table, step)

        def read(share):
            return training_dataset(
                split.train,
                table,
                resize_size=geometry.resize_size,
                input_size=geometry.input_size,
                fit=geometry.fit,
                first_step=first_step,
                last_step=train.steps,
                seed=train.seed,
                share=share,
                service=data_service,
            )

        if cluster.is_chief:
            run.truncate_metrics(first_step)
        journal = Journal(
            run,
            first_step,
            train.steps,
            train.log_every,
            table.batch_size,
            len(split.train),
            writes=cluster.is_chief,
        )
        choice.begin(first_step, journal.write)
        bar = ProgressBar(first_step, train.steps, table.batch_size, train.log_every)
        callbacks = [
            StopOnNonFinite(first_step, files_of),
            journal,
            *([choice] if split.validation else []),
            checkpoints,
            *([bar] if cluster.is_chief else []),
        ]
        try:
            images = distribute(read, table.batch_size, strategy, cluster)
            loop.fit(trainer, images, callbacks, strategy)
        except tf.errors.OpError as error:
            if cluster.size > 1 and is_lost(error):
                raise
            # Raised when the batch after the last finished step is consumed.
            step = int(checkpoints.progress.step)
            found = explain_unreadable(files_of(step), error)
            if found is error:
                found = service_error(error) or error
            raise found from error
        finally:
            bar.stop()
    if split.validation and cluster.is_chief:
        core_of(embedder).load_weights(best)
        print(
            f"Best step: {int(choice.state.best_step)}, MAP@R "
            f"{float(choice.state.best):.3f} on the validation classes."
        )


def _check_shared(first_step, run, strategy, cluster):
    """All workers must go on from the chief's step."""
    chiefs = chief_says(strategy, cluster, first_step)
    if chiefs != first_step:
        raise UsageError(
            f"--run_dir={run.path} holds a checkpoint of step {first_step} for worker "
            f"{cluster.rank} and one of step {chiefs} for the first: name a folder "
            "that all workers share."
        )


def _check_schedule(train):
    steps = list(train.decay_steps)
    given = f"--schedule={train.schedule}"
    shown = f"--decay_steps={','.join(map(str, steps))}"
    if steps and train.schedule != "step":
        raise UsageError(f"{shown} is not for {given}: give --schedule=step with it.")
    if train.schedule == "step" and not steps:
        raise UsageError(f"{given} needs steps to decay at: give --decay_steps=N,M.")
    if steps != sorted(set(steps)):
        raise UsageError(f"{shown} goes back: give each step once, in rising order.")


def _require(**values):
    for name, value in values.items():
        if not value:
            raise UsageError(f"--{name} is missing: give it, or a --flagfile with it.")


def cli():
    """Defines the flags and runs: what `deml-tf-train` starts."""
    define_flags(*CONFIGS, DistributionConfig)
    command.run(main, "Interrupted; the same command goes on from the last checkpoint.")


if __name__ == "__main__":
    cli()
