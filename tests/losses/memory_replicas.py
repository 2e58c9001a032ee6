"""What a process of its own runs: a memory on two replicas against one device."""

import json
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.losses import Contrastive
from deml_tf.losses.memory import CrossBatchMemory


def batch(step, size=4):
    """Labels and embeddings of a step."""
    random = np.random.default_rng(step)
    return random.integers(0, 3, size), random.normal(size=(size, 3, 4))


def made() -> Any:
    layer = CrossBatchMemory(Contrastive(), 10, 0.5, start=1)
    layer.build((None,), (None, 3, 4))
    return layer


def one_step(layer, labels, embeddings, replicas=1):
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = tf.reduce_mean(layer.call(labels, embeddings, training=True)) / replicas
    return value, tape.gradient(value, embeddings)


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        several = made()
    alone = made()
    local = strategy.experimental_local_results

    @tf.function(autograph=False)
    def run(labels, embeddings):
        return strategy.run(one_step, (several, labels, embeddings, 2))

    def share(values):
        halves = np.split(values, 2)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(halves[context.replica_id_in_sync_group])
        )

    report = {}
    for step in range(5):
        labels, embeddings = batch(step)
        embeddings = embeddings.astype("float32")
        value, gradient = run(share(labels), share(embeddings))
        wanted = one_step(alone, tf.constant(labels), tf.constant(embeddings))
        found = np.concatenate([g.numpy() for g in local(gradient)])
        error = np.abs(found - wanted[1]).max() / np.abs(wanted[1]).max()
        memories = [
            max(
                float(np.max(np.abs(a.numpy().astype("float64") - b.numpy())))
                for a, b in zip(copies, alone.variables, strict=True)
            )
            for copies in zip(*(local(v.value) for v in several.variables), strict=True)
        ]
        total = float(sum(v.numpy() for v in local(value)))
        report[step] = [total, float(wanted[0]), float(error), *memories]
    print(json.dumps(report))
