"""Trainings that several replicas must do as one does, in miniature."""

from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from proxies import Proxies
from small_backbone import ARCHITECTURE, NAME

from deml_tf import backbones
from deml_tf.decoupling import (
    AdversaryDecoupling,
    HingeDecoupling,
    NoDecoupling,
    ReversalDecoupling,
)
from deml_tf.losses.binomial_deviance import BinomialDeviance
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.training.optimizer import GroupedAdam
from deml_tf.training.trainer import Trainer

BATCH, STEPS = 8, 10
# With trained BatchNorm on batches of 8 in float32, one device alone moves by .05 when
# its images are scaled by 1 + 1e-7: float64 tells that rounding from an error.
FROZEN = {"batch_norm": "frozen", "width": 0.25, "output_stride": 16}
TRAINED = {**FROZEN, "batch_norm": "train", "scales": 1, "precision": "float64"}
BACKBONES = {
    "frozen BatchNorm": FROZEN,
    "trained BatchNorm": TRAINED,
    # In float32 a unit of ReLU that is near 0 goes the other way when sums are added in
    # another order, and moves a gradient by .05.
    "no BatchNorm": {
        "backbone": "googlenet",
        "width": 0.125,
        "input_size": 64,
        "precision": "float64",
    },
    "transformer": {"backbone": "vit:tiny", "input_size": 48},
    # The same layers of BatchNorm, in a tenth of the time.
    "small, frozen BatchNorm": {**FROZEN, "backbone": NAME, "scales": 1},
    "small, trained BatchNorm": {**TRAINED, "backbone": NAME},
    # A region rule with weights of its own, and a zoom that passes gradients to them.
    "small, learned separation": {
        **FROZEN,
        "backbone": NAME,
        "scales": 2,
        "region_rule": "separation",
        "separation_learned": True,
        "separation_least": 0.0,
    },
    # Nothing but projections is trained.
    "small, projections alone": {
        "backbone": NAME,
        "width": 0.25,
        "output_stride": 16,
        "scales": 1,
        "channel_attention": False,
        "shared_projection": False,
        "train_backbone": False,
    },
}
SMALL = [name for name in BACKBONES if name.startswith("small")]
REAL = [name for name in BACKBONES if name not in SMALL]
# Weights of GoogLeNet whose ten steps can be compared: on one device a change of 1e-7
# in them makes 2e-5 in the end. With 0, 1, 2 and 4 a unit of ReLU goes the other way,
# .006 to .14 of its bias; losses are float32, so as much comes of adding up otherwise.
SEEDS = {"no BatchNorm": 3}
DECOUPLINGS = {
    "none": NoDecoupling,
    "hinge": HingeDecoupling,
    "adversary": lambda: AdversaryDecoupling(hidden=8),
    "reversal": lambda: ReversalDecoupling(hidden=8),
}
LOSSES = {
    "pairs": lambda scales: BinomialDeviance(),
    "proxies": lambda scales: [
        Proxies(num_classes=4, name=f"scale{i}_loss") for i in range(1, scales + 1)
    ],
}
OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(1e-4, momentum=0.9),
    "adam": lambda: GroupedAdam(
        1e-4, {"projection": 10.0, "bias": 2.0}, l2=2e-4, epsilon=1e-3
    ),
    "clipped adam": lambda: GroupedAdam(
        1e-4, l2=2e-4, epsilon=1e-3, global_clipnorm=1.0
    ),
}


def gradient_cases(names):
    """What is compared by the gradients of one step, the most on the first backbone."""
    return [
        *((name, "adversary", "momentum", "pairs") for name in names),
        *((names[0], d, "momentum", "pairs") for d in DECOUPLINGS if d != "adversary"),
        (names[0], "none", "momentum", "proxies"),
    ]


def trained_cases(names):
    """What is compared after ten steps, the most on the first backbone."""
    if names == SMALL:  # all decouplings have their gradients compared
        adam, momentum = names[1:], []
    else:
        adam, momentum = names, DECOUPLINGS
    return [
        *((name, "adversary", "adam", "pairs") for name in adam),
        *((names[0], d, "momentum", "pairs") for d in momentum),
        (names[0], "hinge", "clipped adam", "pairs"),
        (names[0], "none", "adam", "proxies"),
    ]


class Show(keras.optimizers.SGD):
    """Leaves in each variable the gradient that an optimizer would follow."""

    def update_step(self, gradient, variable, learning_rate):
        variable.assign(gradient)


def build(case, optimizer=None, **options):
    """The compiled trainer of a case, built under the present strategy."""
    backbone, decoupling, named, loss = case
    keras.utils.set_random_seed(SEEDS.get(backbone, 0))
    options = {"input_size": 32, "scales": 2, **BACKBONES[backbone], **options}
    with mock.patch.dict(backbones.BACKBONES, {NAME: ARCHITECTURE}):
        embedder = build_deml(weights="none", learners=2, embedding_dim=32, **options)
    if backbone == "no BatchNorm":
        # Its positive biases make all features alike, and losses of few digits.
        for variable in core_of(embedder).trainable_variables:
            if variable.name == "bias":
                variable.assign(tf.zeros(variable.shape, variable.dtype))
    make = optimizer or OPTIMIZERS[named]
    opponent = DECOUPLINGS[decoupling]()
    if decoupling in ("adversary", "reversal"):
        opponent.predictors.optimizer = make()
    trainer = Trainer(
        core_of(embedder), LOSSES[loss](options["scales"]), opponent, steps=STEPS
    )
    trainer.compile(make())
    return trainer


def batches(trainer):
    """Images and labels of the steps, of the whole batch."""
    side = trainer.core.input.shape[1]
    random = np.random.default_rng(0)
    images = random.uniform(0, 1, (STEPS, BATCH, side, side, 3))
    # Unlike one another: embeddings all alike would lose digits in their cosines.
    colours = random.uniform(0, 255, (STEPS, BATCH, 1, 1, 3))
    images = (images * colours).astype("float32")
    # Classes that lie on one replica, and classes that are torn apart.
    labels = np.array([0, 0, 1, 1, 2, 3, 2, 3] * STEPS, "int32").reshape(STEPS, BATCH)
    return tf.data.Dataset.from_tensor_slices((images, labels))


def state(trainer):
    """All that a training changes, by name."""
    return {v.path: np.array(tf.convert_to_tensor(v)) for v in trainer.variables}


def difference(found, wanted):
    """Largest difference over the largest value, and the variable it is in."""
    scale = max(float(np.max(np.abs(value))) for value in wanted.values())
    largest = {
        name: float(np.max(np.abs(found[name] - value)))
        / max(float(np.max(np.abs(value))), 1e-3 * scale)
        for name, value in wanted.items()
        if "seed" not in name
    }
    name = max(largest, key=largest.__getitem__)
    return largest[name], name
