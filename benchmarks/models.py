"""Training steps of the models that are timed, on images in memory."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.training.build import build_trainer

U512 = {"scales": 1, "learners": 1}
GOOGLENET = {"backbone": "googlenet"}


def training_step(
    batch_size: int, **model: Any
) -> tuple[Callable[[Any, Any], Any], tuple[tf.Tensor, tf.Tensor]]:
    """Returns a traced training step and a batch for it.

    Args:
        batch_size: Images of a step, two per class.
        **model: Arguments of `build_deml`.

    Returns:
        The step, a function of images and class numbers, and a batch of noise.
    """
    keras.utils.set_random_seed(0)
    embedder = build_deml(weights="none", batch_norm="frozen", **model)
    trainer = build_trainer(embedder, LossConfig(decoupling="adversary"), TrainConfig())
    step = tf.function(lambda images, labels: trainer.train_step((images, labels)))
    side = core_of(embedder).input.shape[1]
    noise = np.random.default_rng(0).uniform(0, 255, (batch_size, side, side, 3))
    labels = np.repeat(np.arange(batch_size // 2), 2)
    return step, (tf.constant(noise, tf.float32), tf.constant(labels, tf.int32))
