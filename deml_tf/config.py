"""Every flag, defined once: name, default, choices and help.

Each dataclass is one part of a run; `flags.py` makes absl flags of its fields.
"""

import dataclasses
from typing import Any, NamedTuple

from deml_tf.losses.activation_decay import ACTIVATION_DECAY_WEIGHT
from deml_tf.losses.learner_hinge import LEARNER_HINGE_WEIGHT


def _flag(
    default: Any,
    help_text: str,
    *,
    choices: tuple[Any, ...] | None = None,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field that knows how it is asked for and what it may be."""
    return dataclasses.field(
        default=default,
        metadata={
            "help": help_text,
            "choices": choices,
            "at_least": at_least,
            "above": above,
            "below": below,
        },
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images, and which of them are seen."""

    dataset: str | None = _flag(
        None,
        "What data_dir holds: folder (one a class), list (CSV or TSV), a benchmark in "
        "its official layout (cub200_2011, cars196, sop, in_shop), tfds:NAME (an image "
        "set of tensorflow-datasets), or plumage, the procedural birds, which are "
        "drawn there on first use.",
    )
    data_dir: str | None = _flag(
        None,
        "The data set's folder; for lists the file, or a folder with list.csv; for "
        "tfds the folder of its prepared sets, default its own.",
    )
    validation_classes: float = _flag(
        0.0,
        "Share of the seen classes held out of training for every choice: best "
        "step, early stop. 0 keeps the last step.",
        at_least=0.0,
        below=1.0,
    )
    bad_images: str = _flag(
        "fail",
        "What to do about images that cannot be read: fail before training, or skip "
        "them. Either way bad_images.csv in the run folder lists them.",
        choices=("fail", "skip"),
    )
    plumage_species: int = _flag(
        200, "Species of a new Plumage.", at_least=4, below=1000
    )
    plumage_images: int = _flag(30, "Images of each species.", at_least=2, below=100)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The embedder DeML(I, J): the arguments of `build_deml`."""

    backbone: str = _flag(
        "efficientnet_lite0",
        "Network of each scale: efficientnet_lite0, googlenet (the paper's), the name "
        "of a keras.applications model (resnet50, ...) or of a vision transformer of "
        "keras-hub (vit:PRESET).",
    )
    weights: str = _flag(
        "imagenet", "Initial weights of the backbone: imagenet, none or a file."
    )
    width: float = _flag(1.0, "Channel multiplier of the backbone.", above=0.0)
    output_stride: int = _flag(
        32, "32, or 16 to keep useful maps on small images.", choices=(16, 32)
    )
    cut_layer: str | None = _flag(
        None, "Layer at which channel attention sits; default the backbone's own."
    )
    batch_norm: str = _flag(
        "auto",
        "BatchNorm: auto freezes it where weights are given.",
        choices=("auto", "frozen", "train"),
    )
    scales: int = _flag(3, "Scales I; the walk zooms I - 1 times.", at_least=1)
    learners: int = _flag(3, "Learners J of each scale.", at_least=1)
    embedding_dim: int = _flag(
        512, "Numbers in the embedding, shared out evenly over I x J.", at_least=1
    )
    shared_projection: bool = _flag(True, "One projection for a scale's learners.")
    channel_attention: bool | None = _flag(
        None, "Gate the learners; default if there is more than one."
    )
    pooled_gates: bool = _flag(False, "Gates from pooled features.")
    gate_bias: float | None = _flag(
        None, "Bias the gates start with; default the backbone's own."
    )
    walk_steps: int | None = _flag(
        None, "Steps of the random walk, 10 in the release; default exact.", at_least=1
    )
    epsilon: float = _flag(
        0.15, "Width of the walk's location kernel, in sides of the map.", above=0.0
    )
    border: str = _flag(
        "shift",
        "A box that crosses the border is shifted inside or clipped (the release).",
        choices=("shift", "clip"),
    )
    prior_correction: bool = _flag(False, "Take the walk's centre prior out.")
    multi_layer: bool = _flag(False, "Join the walks of two layers.")
    zoom_source: str = _flag(
        "original",
        "What later scales are cut from; the release cuts the previous crop.",
        choices=("original", "previous"),
    )
    input_size: int = _flag(224, "Side of what each scale sees, pixels.", at_least=32)
    resize_size: int | None = _flag(
        None,
        "Side images are brought to before they are cropped to input_size, "
        "pixels; default input_size * 8 / 7, rounded.",
        at_least=32,
    )
    source_size: int | None = _flag(
        None,
        "Side of the crop that later scales are cut from, pixels; default input_size.",
        at_least=32,
    )
    fit: str = _flag(
        "squash",
        "How an image becomes square: squashed, or padded with zeros.",
        choices=("squash", "pad"),
    )
    precision: str = _flag(
        "float32",
        "Arithmetic of the backbone; the walk and the embedding stay float32.",
        choices=("float32", "bfloat16"),
    )

    def __post_init__(self):
        """The default margin for random crops, 256 : 224 as is usual."""
        if self.resize_size is None:
            object.__setattr__(self, "resize_size", round(self.input_size * 8 / 7))


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The four losses of the method."""

    alpha: float = _flag(2.0, "Slope of the binomial deviance.", above=0.0)
    beta: float = _flag(0.5, "Its margin, a cosine.")
    cost_positive: float = _flag(1.0, "Its factor on same-class pairs.", above=0.0)
    cost_negative: float | None = _flag(
        None,
        "Its factor on other pairs; default 35, and 25 for DeML(1, 1) (the release).",
        above=0.0,
    )
    pairs: str = _flag(
        "global",
        "Pairs of the batch over all replicas, or those within each replica alone (the "
        "release).",
        choices=("global", "replica"),
    )
    decoupling: str = _flag(
        "hinge",
        "What keeps a scale's learners different.",
        choices=("hinge", "adversary", "reversal", "none"),
    )
    decoupling_weight: float = _flag(
        LEARNER_HINGE_WEIGHT,
        "Its weight; 0.2 is the release's for its hinge, the paper gives none for the "
        "adversary.",
        at_least=0.0,
    )
    adversary_steps: int = _flag(
        1, "Adversary updates for each metric update.", at_least=1
    )
    activation_decay_weight: float = _flag(
        ACTIVATION_DECAY_WEIGHT, "Weight of the activation decay.", at_least=0.0
    )
    unit_rows_weight: float = _flag(
        1.0, "Weight of the unit-row penalty.", at_least=0.0
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Batches, optimizer and the run itself."""

    run_dir: str | None = _flag(None, "Folder of the run; started again, it goes on.")
    seed: int = _flag(0, "Of weights, batches and crops.", at_least=0, below=2**32)
    steps: int = _flag(1000, "Metric updates of the whole training.", at_least=1)
    classes_per_batch: int = _flag(32, "P, the classes of a batch.", at_least=2)
    images_per_class: int = _flag(2, "K, the images of each of them.", at_least=2)
    learning_rate: float = _flag(1e-5, "Adam's learning rate.", above=0.0)
    schedule: str = _flag(
        "constant",
        "Learning rate: constant, or multiplied by decay_rate at each decay_steps.",
        choices=("constant", "step"),
    )
    decay_steps: tuple[int, ...] = _flag((), "Steps at which a step schedule decays.")
    decay_rate: float = _flag(0.8, "Factor of a step schedule.", above=0.0)
    head_multiplier: float = _flag(
        10.0, "Learning-rate factor of projections and gates.", above=0.0
    )
    bias_multiplier: float = _flag(2.0, "Learning-rate factor of biases.", above=0.0)
    l2: float = _flag(2e-4, "Coupled L2 on weights, none on biases.", at_least=0.0)
    clip_norm: float | None = _flag(
        None, "Clip gradients to this global norm; default no clipping.", above=0.0
    )
    adversary_learning_rate: float = _flag(
        1e-3, "Adam's learning rate of the adversaries.", above=0.0
    )
    log_every: int = _flag(10, "Steps between lines of metrics.jsonl.", at_least=1)
    evaluate_every: int | None = _flag(
        None,
        "Steps between scorings of the validation classes; default steps / 10.",
        at_least=1,
    )
    checkpoint_every: int | None = _flag(
        None, "Steps between checkpoints; default steps / 10.", at_least=1
    )
    patience: int | None = _flag(
        None,
        "Stop after so many scorings without a better validation MAP@R; default never.",
        at_least=1,
    )
    deterministic: bool = _flag(
        True, "Bit-identical runs on one machine, at some speed."
    )

    def __post_init__(self):
        """Ten scorings and checkpoints a run where nothing else is asked for."""
        for name in ("evaluate_every", "checkpoint_every"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, max(1, self.steps // 10))


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """How unseen classes are scored."""

    ranks: tuple[int, ...] = _flag(
        (),
        "Ranks K of Recall@K; default the data set's own: 1,2,4,8, for sop "
        "1,10,100,1000, for in_shop 1,10,20,30.",
    )
    scoring_batch_size: int = _flag(64, "Images embedded at once.", at_least=1)


@dataclasses.dataclass(frozen=True)
class DistributionConfig:
    """On what a run computes: not part of what it is, so it may change at a restart."""

    strategy: str = _flag(
        "auto",
        "Devices: one; mirrored, all GPUs of this machine; multiworker, all machines "
        "of the environment variable TF_CONFIG; auto, whatever there is.",
        choices=("auto", "one", "mirrored", "multiworker"),
    )
    logical_cpus: int | None = _flag(
        None,
        "Replicas on the CPU of a machine without GPUs, to try several.",
        at_least=1,
    )
    data_service: str | None = _flag(
        None,
        "Address HOST:PORT of a tf.data service (python -m deml_tf.data_service) that "
        "reads the training images; default this process.",
    )


class Configs(NamedTuple):
    """The parts of a training run."""

    data: DataConfig
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    score: ScoreConfig


CONFIGS = (DataConfig, ModelConfig, LossConfig, TrainConfig, ScoreConfig)
