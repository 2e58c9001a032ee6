"""From settings to a finished run, on one worker of possibly several."""

import contextlib
from typing import Any, cast

import keras
import tensorflow as tf

from deml_tf.cli import termination
from deml_tf.cli.flags import as_flags
from deml_tf.cli.printing import say
from deml_tf.config import (
    Configs,
    DataConfig,
    DistributionConfig,
    LossConfig,
    TrainConfig,
)
from deml_tf.data.service import check_service
from deml_tf.data.sets import find_set
from deml_tf.errors import UsageError
from deml_tf.models.embedder import check_together, check_used
from deml_tf.runs.folder import RunFolder
from deml_tf.training.best_step import check_patience
from deml_tf.training.build import check_choices
from deml_tf.training.cluster import read_cluster
from deml_tf.training.final_scores import finish
from deml_tf.training.session import Session
from deml_tf.training.strategy import check_shares
from deml_tf.training.tracking import load_tracker, tracked
from deml_tf.training.workers import Workers


def train(configs: Configs, devices: DistributionConfig) -> dict[str, Any] | None:
    """Train, score and report; or resume where a killed run stopped.

    Args:
        configs: The run's settings.
        devices: What it computes on.

    Returns:
        What `results.json` holds; None on the workers that do not write, and if the run
        was finished before.

    Raises:
        UsageError: Settings do not fit each other, the data or the machines.
        DataError: Data, run folder or another worker prevent the training.
    """
    check_settings(configs)
    folder = RunFolder(str(configs.train.run_dir))
    if not folder.flags_path.exists():
        check_new(configs)
    cluster = read_cluster()
    finished = folder.finished
    if finished and not cluster.is_chief:
        return None  # the writer reports it
    if devices.track is not None and not finished:
        load_tracker(devices.track)
    if devices.data_service is not None and not finished:
        check_service(devices.data_service)
    batches = (
        configs.train.classes_per_batch,
        configs.train.images_per_class,
        configs.loss.pairs,
    )
    if devices.logical_cpus:  # checked first: making so many devices takes time
        check_shares(devices.logical_cpus * cluster.size, *batches)
    if finished:  # no need to wait for other workers
        workers = Workers()
    else:
        workers = Workers.start(devices.strategy, devices.logical_cpus, cluster)
        check_shares(workers.replicas, *batches)
        check_choices(configs.model, configs.loss, configs.train)
    with workers.lost_one_explained():
        return _train(configs, workers, devices)


def check_settings(configs: Configs) -> None:
    """Refuse settings that do not go together, without building anything.

    Args:
        configs: The settings of a training.

    Raises:
        UsageError: Some do not go together.
    """
    check_schedule(configs.train)
    check_memory(configs.loss, configs.train)
    check_optimizer(configs.train)
    check_validation(configs.data, configs.train)
    check_together(configs.model)


def check_new(configs: Configs) -> None:
    """Refuse settings that would have no effect, in a run that has not begun yet.

    Args:
        configs: The settings of a training.

    Raises:
        UsageError: There is one.
    """
    check_used(configs.model)
    train = configs.train
    evaluations = -(-train.steps // cast(int, train.evaluate_every))
    if train.patience and train.patience >= evaluations - 1:
        raise UsageError(
            f"patience={train.patience}: with {evaluations} evaluations it would never "
            "stop the training early; lower it, or evaluate_every, or leave it out."
        )


def check_memory(loss: LossConfig, train: TrainConfig) -> None:
    """Refuse a memory of past batches that no step would be compared with.

    Raises:
        UsageError: It begins to fill too late.
    """
    if loss.memory and loss.memory_start >= train.steps - 1:
        raise UsageError(
            f"memory_start={loss.memory_start}: with steps={train.steps} no step would "
            f"be compared with memory={loss.memory}; it must be below steps - 1."
        )


def check_schedule(train: TrainConfig) -> None:
    """Refuse steps of a decay or warm-up that do not fit the schedule.

    Raises:
        UsageError: They do not fit.
    """
    steps = list(train.decay_steps)
    given = f"schedule={train.schedule}"
    shown = f"decay_steps={','.join(map(str, steps))}"
    if steps and train.schedule != "step":
        raise UsageError(f"{shown} is not for {given}: give schedule=step with it.")
    if train.schedule == "step" and not steps:
        raise UsageError(f"{given} needs steps to decay at: give decay_steps=N,M.")
    if steps != sorted(set(steps)):
        raise UsageError(f"{shown} goes back: give each step once, in rising order.")
    if train.warmup_steps >= train.steps:
        raise UsageError(
            f"warmup_steps={train.warmup_steps}: it must be below steps={train.steps}."
        )


def check_optimizer(train: TrainConfig) -> None:
    """Refuse a weight decay if the optimizer has none.

    Raises:
        UsageError: It has none.
    """
    if train.weight_decay is not None and train.optimizer != "adamw":
        raise UsageError(
            f"weight_decay={train.weight_decay} is not for "
            f"optimizer={train.optimizer}: give optimizer=adamw with it."
        )


def check_validation(data: DataConfig, train: TrainConfig) -> None:
    """Refuse patience if there will be no validation classes.

    Args:
        data: Names the data set and the share of validation classes.
        train: Says the patience.

    Raises:
        UsageError: No step could be chosen.
    """
    lists_some = find_set(data.dataset).lists_validation
    check_patience(train, bool(data.validation_classes) or lists_some)


def _train(
    configs: Configs, workers: Workers, devices: DistributionConfig
) -> dict[str, Any] | None:
    run = RunFolder(str(configs.train.run_dir))
    if workers.is_writer:
        run = RunFolder.open(run.path, as_flags(*configs))
        if run.finished:
            say(f"{run.path} is finished: see {run.report_path}.")
            return None
    with run.undone_on_error():
        # This comes before any variable exists.
        keras.utils.set_random_seed(configs.train.seed)
        if configs.train.deterministic:
            tf.config.experimental.enable_op_determinism()
        with workers.one_voice():
            session = Session.build(configs, run, workers)
    track = devices.track if workers.is_writer else None
    given = {k: v for k, v in as_flags(*configs).items() if v is not None}
    with tracked(track, run, given) as forward:
        session.fit(devices.data_service, forward)
    results = None
    if workers.is_writer:
        replicas = workers.replicas
        results = finish(run, session.embedder, session.split, configs, replicas)
    # A worker that left before the writer is done would count as lost.
    with contextlib.nullcontext() if workers.is_writer else termination.at_once():
        workers.leave()
    return results
