"""What a process of its own runs: losses in Keras's `fit` on two replicas."""

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from every_loss import has_weights

from deml_tf.losses import METRIC_LOSSES


def model_of(loss) -> Any:
    """Embeddings and their loss in one functional model, as its users build it."""
    images = keras.Input([6], name="images")
    labels = keras.Input([], dtype="int64", name="labels")
    embeddings = keras.Sequential(
        [keras.layers.Dense(6, use_bias=False), keras.layers.Reshape([2, 3])],
        name="embedder",
    )(images)
    return keras.Model([images, labels], loss(labels, embeddings))


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
    """Weights before and after five steps, and the first loss."""
    kind: Any = METRIC_LOSSES[name]
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = model_of(kind(num_classes=4))
        start = [np.sin(7 * np.arange(w.size)) for w in model.get_weights()]
        shapes = [w.shape for w in model.get_weights()]
        start = [w.reshape(s) for w, s in zip(start, shapes, strict=True)]
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.003))
    history = model.fit(data().repeat(5), verbose=0).history
    return start, model.get_weights(), history["loss"][0]


def flat(weights):
    return np.concatenate([np.ravel(w) for w in weights])


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    report = {}
    for name in METRIC_LOSSES:
        if has_weights(name):
            _, found, found_loss = fitted(name, strategy)
            start, wanted, loss = fitted(name, tf.distribute.get_strategy())
            error = np.abs(flat(found) - flat(wanted)).max()
            moved = np.abs(flat(wanted) - flat(start)).max()
            report[name] = [float(error), float(moved), found_loss, loss]
    print(json.dumps(report))
