"""From a run's settings to the compiled trainer."""

import inspect
import re
from collections.abc import Mapping
from typing import Any, cast

import keras

from deml_tf.backbones import check_backbone
from deml_tf.config import LossConfig, ModelConfig, TrainConfig, baseline_arguments
from deml_tf.data.augmentation import AUGMENTATIONS, Augmentation
from deml_tf.decoupling import DECOUPLINGS, Decoupling
from deml_tf.errors import UsageError, arguments_of
from deml_tf.losses import METRIC_LOSSES
from deml_tf.losses.memory import CrossBatchMemory
from deml_tf.losses.pair_loss import PairLoss
from deml_tf.models.embedder import core_of, scales_and_learners
from deml_tf.models.scale import build_region_rule
from deml_tf.training.learning_rate import build_learning_rate
from deml_tf.training.optimizer import GroupedAdam
from deml_tf.training.trainer import Trainer

_HEAD = r"_(projection|channel_attention|object_attention)/"
_BIAS = r"(bias|beta)[^/]*$"


def build_trainer(
    embedder: keras.Model,
    loss: LossConfig,
    train: TrainConfig,
    num_classes: int | None = None,
) -> Trainer:
    """Build the compiled trainer around an embedder's core.

    Args:
        embedder: What `deml_tf.build_deml` returns.
        loss: Metric loss, decoupling and regularisers.
        train: Steps and optimizer.
        num_classes: Number of training classes, for metric losses that need it.

    Returns:
        The trainer.

    Raises:
        UsageError: An argument of the metric loss or of the decoupling is wrong.
    """
    core = core_of(embedder)
    trainer = Trainer(
        core,
        build_metric_loss(loss, *scales_and_learners(core), num_classes),
        build_decoupling(loss),
        steps=train.steps,
        activation_decay_weight=loss.activation_decay_weight,
        unit_rows_weight=loss.unit_rows_weight,
        energy_confusion_weight=loss.energy_confusion_weight,
        pairs=loss.pairs,
    )
    trainer.compile(build_optimizer(train, trainer.loss_layers))
    return trainer


def check_choices(model: ModelConfig, loss: LossConfig, train: TrainConfig) -> None:
    """Build what the settings choose and drop it, to refuse wrong arguments at once.

    The backbone, which takes long to build, is only looked up.

    Args:
        model: Its region rule is built, its backbone and its weights are looked up.
        loss: Its metric loss and its decoupling are built.
        train: Its augmentation is built.

    Raises:
        UsageError: An argument of one of them is wrong.
        DataError: A preset of the backbone cannot be fetched or read.
    """
    check_backbone(
        model.backbone,
        input_size=model.input_size,
        weights=model.weights,
        cut_layer=model.cut_layer,
        batch_norm=model.batch_norm,
        options={"width": model.width, "output_stride": model.output_stride},
    )
    build_region_rule(
        model.region_rule,
        model.region_arguments,
        resolution=model.input_size,
        name="checked",
    )
    build_metric_loss(loss, model.scales, model.learners, num_classes=2)
    build_decoupling(loss)
    build_augmentation(train)


def build_augmentation(train: TrainConfig) -> Augmentation:
    """Build the augmentation of training images.

    Raises:
        UsageError: One of its arguments is wrong.
    """
    with arguments_of(train.augmentation, train.augmentation_arguments):
        return AUGMENTATIONS[train.augmentation](**train.augmentation_arguments)


def build_decoupling(loss: LossConfig) -> Decoupling:
    """Build the decoupling, still without its opponent's variables.

    Raises:
        UsageError: One of its arguments is wrong.
    """
    with arguments_of(loss.decoupling, loss.decoupling_arguments):
        return DECOUPLINGS[loss.decoupling](
            weight=loss.decoupling_weight, **loss.decoupling_arguments
        )


def build_metric_loss(
    loss: LossConfig, scales: int, learners: int, num_classes: int | None = None
) -> keras.losses.Loss | list[keras.layers.Layer]:
    """Build the metric loss: one for all scales, or a layer for each.

    Args:
        loss: Its name in `METRIC_LOSSES`, and its arguments.
        scales: The embedder's number of scales I.
        learners: The embedder's number of learners J.
        num_classes: Number of training classes.

    Returns:
        As `Trainer` takes it.

    Raises:
        UsageError: One of its arguments is wrong, or it has no use for a memory.
    """
    kind = METRIC_LOSSES[loss.loss]
    arguments = {
        **baseline_arguments(kind, scales, learners),
        **loss.loss_arguments,
        **_taken(kind, {"pairs": loss.pairs, "num_classes": num_classes}),
    }
    names = [f"scale{i}_loss" for i in range(1, scales + 1)]
    with arguments_of(loss.loss, loss.loss_arguments):
        if not issubclass(kind, keras.losses.Loss):
            made = [kind(**arguments, name=name) for name in names]
        else:
            made = kind(**arguments)
    if not loss.memory:
        return made
    if not isinstance(made, PairLoss):
        raise UsageError(
            f"memory={loss.memory} is for losses of pairs, and loss={loss.loss} is "
            "none: give memory=0."
        )
    numbers = (loss.memory, loss.memory_weight, loss.memory_start)
    return [CrossBatchMemory(made, *numbers, name=name) for name in names]


def build_optimizer(
    train: TrainConfig, loss_layers: list[keras.layers.Layer]
) -> GroupedAdam:
    """Build the optimizer of the core and of its metric losses.

    Args:
        train: Learning rate, its schedule and multipliers, weight decay, L2 and
            clipping.
        loss_layers: Metric losses with weights; their attributes `rate_multiplier` and
            `l2` apply to all of their variables.

    Returns:
        The optimizer, not yet built.
    """
    own = {f"^{re.escape(str(layer.path))}/": layer for layer in loss_layers}
    return GroupedAdam(
        build_learning_rate(train),
        {
            **{pattern: layer.rate_multiplier for pattern, layer in own.items()},
            f"{_HEAD}.*{_BIAS}": train.head_multiplier * train.bias_multiplier,
            _HEAD: train.head_multiplier,
            _BIAS: train.bias_multiplier,
        },
        l2=cast(float, train.l2),
        weight_decay=train.weight_decay,
        own_l2={pattern: layer.l2 for pattern, layer in own.items()},
        epsilon=1e-8,
        global_clipnorm=train.clip_norm,
    )


def _taken(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the program's own values that a constructor takes."""
    taken = inspect.signature(kind).parameters
    return {n: v for n, v in values.items() if n in taken and v is not None}
