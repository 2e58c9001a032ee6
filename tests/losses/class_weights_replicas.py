"""What a process of its own runs: losses in Keras's `fit` on several replicas."""

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from every_loss import has_weights

from deml_tf.losses import METRIC_LOSSES

STEPS = 10


def model_of(loss) -> Any:
    """Embeddings and their loss in one functional model, as its users build it."""
    images = keras.Input([6], name="images")
    labels = keras.Input([], dtype="int64", name="labels")
    return keras.Model([images, labels], loss(labels, embedder()(images)))


def embedder() -> Any:
    """A model with one weight, which gives two learners' parts."""
    layers = [keras.layers.Dense(6, use_bias=False), keras.layers.Reshape([2, 3])]
    return keras.Sequential([keras.Input([6]), *layers], name="embedder")


def data():
    """Eight images of four classes, as inputs alone."""
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 6)).astype("float32")
    labels = np.array([0, 1, 2, 3, 0, 1, 0, 1])
    read = tf.data.Dataset.from_tensors(((images, labels),)).unbatch()
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return read.batch(8, drop_remainder=True).with_options(options)


def fitted(name, strategy):
    """Weights before and after ten steps, and the loss over them."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model, batches = with_loss(name)
        start = [np.sin(7 * np.arange(w.size)) for w in model.get_weights()]
        shapes = [w.shape for w in model.get_weights()]
        start = [w.reshape(s) for w, s in zip(start, shapes, strict=True)]
        model.set_weights(start)
    history = model.fit(batches.repeat(STEPS), verbose=0).history
    return start, model.get_weights(), history["loss"][0]


def with_loss(name) -> Any:
    """A compiled model with its loss, as its users build it, and what it reads."""
    kind: Any = METRIC_LOSSES[name]
    optimizer = keras.optimizers.SGD(0.003)
    if has_weights(name):
        model = model_of(kind(num_classes=4))
        model.compile(optimizer)
        return model, data()
    model = embedder()
    model.compile(optimizer, kind())
    return model, data().map(lambda given: given)


def flat(weights):
    return np.concatenate([np.ravel(w) for w in weights])


def main(count, names):
    cpu = tf.config.list_physical_devices("CPU")[0]
    several = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, several)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(count)])
    report = {}
    for name in names:
        _, found, found_loss = fitted(name, strategy)
        start, wanted, loss = fitted(name, tf.distribute.get_strategy())
        error = np.abs(flat(found) - flat(wanted)).max()
        moved = np.abs(flat(wanted) - flat(start)).max()
        report[name] = [float(error), float(moved), found_loss, loss]
    print(json.dumps(report))
