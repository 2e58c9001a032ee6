"""Every setting, once: name, default, range or choices, unit and help.

Each dataclass is one part of a run; `cli/flags.py` makes command-line flags of its
fields. A setting that names a member of a literal dict, such as `losses.METRIC_LOSSES`,
says so by `registered`; the constructor arguments of the chosen member are in the
mapping that follows it. `listed` names a dict whose keys the help lists, if other
values are possible too. `path` marks a file or folder.
"""

import dataclasses
import math
import operator
import textwrap
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from deml_tf.errors import UsageError


def _setting(
    default: Any,
    help_text: str,
    *,
    choices: tuple[Any, ...] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    registered: str | None = None,
    listed: str | None = None,
    path: bool = False,
) -> Any:
    """Make a dataclass field with its help, its range and the list of its choices."""
    return dataclasses.field(
        default=default,
        metadata={
            "help": help_text,
            "choices": choices,
            "at_least": at_least,
            "at_most": at_most,
            "above": above,
            "below": below,
            "registered": registered,
            "listed": listed,
            "path": path,
        },
    )


def _arguments_of(choice: str) -> Any:
    """Make a field for the constructor arguments of what another setting chooses."""
    return dataclasses.field(default_factory=dict, metadata={"arguments_of": choice})


def baseline_arguments(kind: type, scales: int, learners: int) -> dict[str, Any]:
    """Return the arguments of a loss that the release's U512 sets otherwise.

    U512 is the baseline: one scale and one learner.

    Args:
        kind: Class of the loss; its `BASELINE`, if it has one, holds them.
        scales: The embedder's number of scales I.
        learners: The embedder's number of learners J.

    Returns:
        Default values by name for U512; none for other embedders.
    """
    return dict(getattr(kind, "BASELINE", {})) if scales == learners == 1 else {}


def default_resize_size(input_size: int) -> int:
    """Return the side that images are resized to before the crop, in pixels.

    The margin for random crops is the usual one: 256 pixels for 224.

    Args:
        input_size: Side of the crop, in pixels.
    """
    return round(input_size * Fraction(8, 7))  # a float could overflow


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images there are, and which of them are used for training."""

    dataset: str | None = _setting(
        None,
        "What data_dir holds: folder (one subfolder for each class), list (a CSV or "
        "TSV file), a benchmark in its official layout (cub200_2011, cars196, sop, "
        "in_shop), tfds:NAME (an image set of tensorflow-datasets), or plumage, "
        "generated bird images that are drawn there on first use.",
        listed="data.sets.SETS",
    )
    data_dir: str | None = _setting(
        None,
        "Folder of the data set; for a list, the file or a folder that holds "
        "list.csv; for tfds, the folder of the prepared data sets, by default that of "
        "tensorflow-datasets.",
        path=True,
    )
    validation_classes: float = _setting(
        0.0,
        "Share of the training classes that are held out to choose the best step and "
        "to stop early. If no classes are held out, here or by the data set itself, "
        "the last step is kept.",
        at_least=0.0,
        below=1.0,
    )
    bad_images: str = _setting(
        "fail",
        "What to do with images that cannot be read: fail before training, or skip "
        "them. Either way they are listed in bad_images.csv in the run folder, or in "
        "SCORES.bad_images.csv beside evaluate's scores.",
        choices=("fail", "skip"),
    )
    crop_to_box: bool = _setting(
        False,
        "Whether every image is cropped to the box that the data set lists for its "
        "object, as if the file held nothing else. This is for studies of what "
        "perfect object attention would score: an export does not crop, so it needs "
        "cropped images.",
    )
    plumage_species: int = _setting(
        200, "Number of species in a new Plumage data set.", at_least=4, below=1000
    )
    plumage_images: int = _setting(
        30,
        "Number of images of each species in a new Plumage data set.",
        at_least=2,
        below=100,
    )
    plumage_view: float = _setting(
        1.0,
        "Width of the view in the images of a new Plumage data set, from 1 to 4. At 2 "
        "they have 320 pixels a side instead of 160; the birds have as many pixels as "
        "at 1.",
        at_least=1.0,
        at_most=4.0,
    )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The embedder DeML(I, J): the arguments of `build_deml`."""

    backbone: str = _setting(
        "efficientnet_lite0",
        "Network of each scale: one of the names listed here, the name of another "
        "keras.applications model, or a vision transformer of keras-hub (vit:PRESET, "
        "or vit:FOLDER that save_to_preset wrote). The paper's is googlenet.",
        listed="backbones.BACKBONES",
    )
    weights: str = _setting(
        "imagenet",
        "Initial weights of the backbone: imagenet, none or a file.",
        path=True,
    )
    width: float = _setting(
        1.0, "Factor on the number of channels of the backbone.", above=0.0
    )
    output_stride: int = _setting(
        32,
        "Stride of the last feature map, in pixels: 32 or, only with "
        "efficientnet_lite0, 16, which keeps the maps of small images useful.",
        choices=(16, 32),
    )
    cut_layer: str | None = _setting(
        None,
        "Layer after which channel attention is applied; by default the backbone's "
        "own choice.",
    )
    batch_norm: str = _setting(
        "auto",
        "Mode of batch normalisation: frozen, train, or auto, which freezes it if the "
        "backbone starts from given weights.",
        choices=("auto", "frozen", "train"),
    )
    scales: int = _setting(
        3, "Number of scales I; object attention zooms I - 1 times.", at_least=1
    )
    learners: int = _setting(3, "Number of learners J of each scale.", at_least=1)
    embedding_dim: int = _setting(
        512,
        "Length of the embedding, divided evenly among the I x J parts.",
        at_least=1,
    )
    train_backbone: bool = _setting(
        True,
        "Whether the backbones are trained. If not, they keep their initial weights, "
        "including batch normalisation, and gates, projections and the weights of the "
        "metric loss are still trained.",
    )
    shared_projection: bool = _setting(
        True, "Whether the learners of a scale share one projection."
    )
    channel_attention: bool | None = _setting(
        None,
        "Whether each learner has channel gates; by default only if there is more "
        "than one learner. Without gates, learners differ only in their projections, "
        "so several learners need shared_projection=false.",
    )
    pooled_gates: bool = _setting(
        False,
        "Whether each gate is one number per channel, computed from spatially "
        "averaged features, instead of one per channel and position.",
    )
    gate_bias: float | None = _setting(
        None,
        "Initial bias of the gates, before the sigmoid: 0 starts them at one half, 3 "
        "near one. By default the backbone's own choice.",
    )
    region_rule: str = _setting(
        "walk",
        "Rule that finds the region that the next scale zooms in on: walk, the "
        "paper's; separation, the square whose inside and outside the features "
        "separate best; or, for comparison, fixed, the same square in every image, or "
        "random, a square at a place that varies randomly from image to image.",
        registered="layers.REGION_RULES",
    )
    region_arguments: Mapping[str, Any] = _arguments_of("region_rule")
    zoom_source: str = _setting(
        "original",
        "What the views of the later scales are cut from: original, the square of "
        "side source_size that the first view is made from, or previous, the view of "
        "the scale before, as in the authors' release.",
        choices=("original", "previous"),
    )
    input_size: int = _setting(
        224, "Side of the image that each scale sees, in pixels.", at_least=32
    )
    resize_size: int | None = _setting(
        None,
        "Side that images are resized to before they are cropped to input_size, in "
        "pixels; by default input_size * 8 / 7, rounded. With source_size, both sides "
        "are multiplied by source_size / input_size.",
        at_least=32,
    )
    source_size: int | None = _setting(
        None,
        "Side of the square that the later scales are cut from, in pixels; by default "
        "input_size. A larger one gives them detail that the first scale cannot see.",
        at_least=32,
    )
    fit: str = _setting(
        "squash",
        "Way to make an image square: squash changes its proportions, pad adds black "
        "borders.",
        choices=("squash", "pad"),
    )
    precision: str = _setting(
        "float32",
        "Number format of the backbone; object attention and the embedding stay in "
        "float32. With float64 the embedding is in float64 too, to tell rounding from "
        "errors.",
        choices=("float32", "bfloat16", "float64"),
    )

    def __post_init__(self):
        """Fill in the default of resize_size."""
        if self.resize_size is None:
            size = default_resize_size(self.input_size)
            object.__setattr__(self, "resize_size", size)


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The metric loss, the decoupling of the learners and the regularisers."""

    loss: str = _setting(
        "binomial_deviance",
        "Metric loss of each learner.",
        registered="losses.METRIC_LOSSES",
    )
    loss_arguments: Mapping[str, Any] = _arguments_of("loss")
    pairs: str = _setting(
        "global",
        "Pairs that the metric loss compares: global, those of the batch over all "
        "replicas; replica, only those within each replica (the release).",
        choices=("global", "replica"),
    )
    memory: int = _setting(
        0,
        "Number of images of past batches that a pair loss also compares the batch "
        "with (XBM); 0 turns this memory off.",
        at_least=0,
    )
    memory_weight: float = _setting(
        1.0, "Weight of the metric loss between the batch and the memory.", at_least=0.0
    )
    memory_start: int = _setting(
        1000, "Number of training steps before the memory begins to fill.", at_least=0
    )
    decoupling: str = _setting(
        "hinge",
        "Rule that makes the learners of a scale differ: hinge, the release's; "
        "adversary, the paper's; reversal, the adversary by reversed gradients; or "
        "none.",
        registered="decoupling.DECOUPLINGS",
    )
    decoupling_arguments: Mapping[str, Any] = _arguments_of("decoupling")
    decoupling_weight: float = _setting(
        0.2,
        "Weight of the decoupling term. The release uses 0.2 for its hinge; the paper "
        "gives no weight for the adversary.",
        at_least=0.0,
    )
    activation_decay_weight: float = _setting(
        0.014,
        "Weight of the activation decay, a penalty on large embeddings.",
        at_least=0.0,
    )
    unit_rows_weight: float = _setting(
        1.0,
        "Weight of the penalty on rows of the projections that are not of unit length.",
        at_least=0.0,
    )
    energy_confusion_weight: float = _setting(
        0.0,
        "Weight of ECAML's energy confusion, which draws different classes together; "
        "its release uses 0.13, DeML does not use it.",
        at_least=0.0,
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Batches, optimizer and the run itself."""

    run_dir: str | None = _setting(
        None,
        "Folder of the run. If it holds an unfinished run, the same command resumes "
        "it.",
        path=True,
    )
    seed: int = _setting(
        0,
        "Seed of the initial weights, the batches and the random crops.",
        at_least=0,
        below=2**32,
    )
    steps: int = _setting(1000, "Number of training steps.", at_least=1)
    classes_per_batch: int = _setting(32, "Number of classes P in a batch.", at_least=2)
    images_per_class: int = _setting(
        2, "Number of images K of each class in a batch.", at_least=2
    )
    augmentation: str = _setting(
        "release",
        "How training images are cut: release, at a random place of the resized image; "
        "or random_resized_crop, at a random place with a random area and shape. Half "
        "of the images are then mirrored.",
        registered="data.augmentation.AUGMENTATIONS",
    )
    augmentation_arguments: Mapping[str, Any] = _arguments_of("augmentation")
    optimizer: str = _setting(
        "adam",
        "Optimizer: adam, as in the release, or adamw, whose weight decay is "
        "decoupled from the gradients.",
        choices=("adam", "adamw"),
    )
    weight_decay: float | None = _setting(
        None,
        "With optimizer=adamw, the share of the weights that each step takes off, "
        "multiplied by the learning rate; norms and biases are not decayed. By "
        "default 0.01.",
        at_least=0.0,
    )
    learning_rate: float = _setting(1e-5, "Learning rate of the optimizer.", above=0.0)
    schedule: str = _setting(
        "constant",
        "Schedule of the learning rate: constant; step, which multiplies it by "
        "decay_rate at each of decay_steps; or cosine, which lowers it to 0 along half "
        "a cosine.",
        choices=("constant", "step", "cosine"),
    )
    warmup_steps: int = _setting(
        0,
        "Number of steps over which the learning rate rises linearly from 0; the "
        "cosine schedule begins after them.",
        at_least=0,
    )
    decay_steps: tuple[int, ...] = _setting(
        (), "Steps at which schedule=step multiplies the learning rate by decay_rate."
    )
    decay_rate: float = _setting(
        0.8, "Factor on the learning rate at each step of decay_steps.", above=0.0
    )
    head_multiplier: float = _setting(
        10.0,
        "Factor on the learning rate of projections, gates and learned region rules.",
        above=0.0,
    )
    bias_multiplier: float = _setting(
        2.0, "Factor on the learning rate of biases.", above=0.0
    )
    l2: float | None = _setting(
        None,
        "L2 penalty on the weights, added to the gradients; norms and biases are "
        "exempt. By default 2e-4 with optimizer=adam, and 0 with adamw.",
        at_least=0.0,
    )
    clip_norm: float | None = _setting(
        None,
        "Largest global norm of the gradients, above which they are scaled down; by "
        "default they are not clipped.",
        above=0.0,
    )
    log_every: int = _setting(
        10, "Number of steps between lines of metrics.jsonl.", at_least=1
    )
    evaluate_every: int | None = _setting(
        None,
        "Number of steps between evaluations of the held-out classes; by default "
        "steps / 10.",
        at_least=1,
    )
    checkpoint_every: int | None = _setting(
        None, "Number of steps between checkpoints; by default steps / 10.", at_least=1
    )
    patience: int | None = _setting(
        None,
        "Number of evaluations without a better validation MAP@R after which training "
        "stops; by default it never stops early.",
        at_least=1,
    )
    score_frozen: bool = _setting(
        True,
        "Whether the frozen start, the backbone before any training, is scored as well "
        "when training ends.",
    )
    deterministic: bool = _setting(
        True,
        "Whether runs on one machine are equal bit for bit, which costs some speed.",
    )

    @property
    def batch_size(self) -> int:
        """Return the number of images in a batch."""
        return self.classes_per_batch * self.images_per_class

    def __post_init__(self):
        """Fill in the defaults, such as ten evaluations and ten checkpoints per run."""
        is_adamw = self.optimizer == "adamw"
        for name, default in (
            ("evaluate_every", max(1, self.steps // 10)),
            ("checkpoint_every", max(1, self.steps // 10)),
            ("l2", 0.0 if is_adamw else 2e-4),
            ("weight_decay", 0.01 if is_adamw else None),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """How retrieval among unseen classes is scored."""

    ranks: tuple[int, ...] = _setting(
        (),
        "Ranks K of Recall@K; by default those of the data set: 1,2,4,8, for sop "
        "1,10,100,1000, for in_shop 1,10,20,30.",
    )
    scoring_batch_size: int = _setting(
        64,
        "Number of images that scoring embeds at once; it may change when a run is "
        "resumed.",
        at_least=1,
    )


@dataclasses.dataclass(frozen=True)
class DistributionConfig:
    """What a run computes on and is tracked with; may change when it is resumed."""

    strategy: str = _setting(
        "auto",
        "Devices to train on: one; mirrored, all GPUs of this machine; multiworker, "
        "all machines of the environment variable TF_CONFIG; auto, all devices that "
        "there are.",
        choices=("auto", "one", "mirrored", "multiworker"),
    )
    logical_cpus: int | None = _setting(
        None,
        "Number of replicas that share the CPU of a machine without GPUs, to try out "
        "training on several replicas.",
        at_least=1,
    )
    data_service: str | None = _setting(
        None,
        "Address HOST:PORT of a tf.data service (python -m deml_tf.data_service) that "
        "reads the training images; by default this process reads them.",
    )
    track: str | None = _setting(
        None,
        "Experiment tracker to which losses and diagnostics are also sent: mlflow or "
        "wandb, with the extra of that name; by default none.",
        choices=("mlflow", "wandb"),
    )


class Configs(NamedTuple):
    """The parts of a training run."""

    data: DataConfig
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    score: ScoreConfig


CONFIGS = (DataConfig, ModelConfig, LossConfig, TrainConfig, ScoreConfig)


def check(settings: Any) -> None:
    """Refuse values outside their ranges and choices.

    Flags are checked when they are parsed; this is for settings given in a program.

    Args:
        settings: An instance of one of the dataclasses above.

    Raises:
        UsageError: A value is out of its range, or is not one of the choices, or is
            None where that means nothing.
    """
    for field in dataclasses.fields(settings):
        value, facts = getattr(settings, field.name), field.metadata
        if "help" not in facts or value is field.default is None:
            continue
        if value is None:
            raise UsageError(f"{field.name}=None: give a value, or leave it out.")
        wrong = must_be(value, facts)
        if wrong:
            raise UsageError(f"{field.name}={value}: it must be {wrong}.")


def must_be(value: Any, limits: Mapping[str, Any]) -> str | None:
    """Say what a value must be, such as "at least 1"; None if it is that.

    Args:
        value: Value of a setting.
        limits: Any of `at_least`, `at_most`, `above`, `below` and `choices`; None means
            no limit.
    """
    set_limits = {name: limit for name, limit in limits.items() if limit is not None}
    tests = {
        "at_least": operator.ge,
        "at_most": operator.le,
        "above": operator.gt,
        "below": operator.lt,
    }
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    for name, holds in tests.items():
        if name in set_limits and not holds(value, set_limits[name]):
            return f"{name.replace('_', ' ')} {set_limits[name]}"
    choices = set_limits.get("choices", (value,))
    return None if value in choices else " or ".join(map(str, choices))


def describe(config: type, indent: int = 0) -> str:
    """Write the settings of a dataclass as the `Args:` of a docstring.

    Args:
        config: One of the dataclasses above.
        indent: Blanks before each line but the first, by default 0.
    """
    lines = []
    for field in dataclasses.fields(config):
        if "help" in field.metadata:
            text = f"{field.name}: {field.metadata['help']} Default: {field.default!r}."
            lines += textwrap.wrap(text, 88 - indent, subsequent_indent="    ")
    return ("\n" + " " * indent).join(lines)
