"""What a process of its own runs: replicas against one device, for every loss."""

import json

import numpy as np
import tensorflow as tf
from every_loss import CASES, has_weights, make, numbered, value_and_gradients

LABELS = {
    "pairs within": [0, 0, 1, 1, 2, 2, 3, 3],
    "pairs across": [0, 1, 2, 3, 0, 1, 2, 3],
    "mixed": [5, 1, 5, 5, 1, 7, 1, 1],
    "one class": [4] * 8,
    "all different": list(range(8)),
}
LEARNERS, D = 2, 4


def embed(kernel, images):
    """A model with one weight, so that its gradient tells all."""
    return tf.reshape(tf.tanh(images @ kernel), [-1, LEARNERS, D])


def sums(loss, kernel, labels, images, references, replicas=1):
    """The mean and the gradients of it, as one replica contributes them."""
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        embeddings = embed(kernel, images)
    values, (gradient, *weights) = value_and_gradients(
        loss, labels, embeddings, references
    )
    to_kernel = tape.gradient(embeddings, kernel, gradient)
    every = [tf.reduce_mean(values), to_kernel, *weights]
    return [x / replicas for x in every]


def error(found, wanted):
    """Largest difference beside the largest value, or beside a small one."""
    size = max(float(np.max(np.abs(wanted))), 1e-2)
    return float(np.max(np.abs(found - wanted))) / size


def compare(case, strategy, kernel, images, references):
    """Values and gradients of a loss for all labels, on replicas and on one device."""
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        several = make(*CASES[case], learners=LEARNERS, d=D)
    alone = make(*CASES[case], learners=LEARNERS, d=D)

    @tf.function(autograph=False)
    def run(labels, images):
        def step(labels, images):
            context = tf.distribute.get_replica_context()
            given = (several, kernel, labels, images, references, count)
            return context.all_reduce("sum", sums(*given))

        return strategy.run(step, (labels, images))

    def share(values):
        parts = np.split(values, count)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    for name, labels in LABELS.items():
        labels = numbered(CASES[case][0], labels).astype(np.int64)
        found = [
            strategy.experimental_local_results(x)[0].numpy()
            for x in run(share(labels), share(images))
        ]
        wanted = sums(alone, kernel, tf.constant(labels), images, references)
        wanted = [x.numpy() for x in wanted]
        errors = [error(a, b) for a, b in zip(found[1:], wanted[1:], strict=True)]
        yield name, [float(found[0]), float(wanted[0]), *errors]


def main(count, cases):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    strategy = tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(count)])
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 5)).astype("float32")
    kernel = tf.constant(random.normal(size=(5, LEARNERS * D)), tf.float32)
    others = random.normal(size=(6, LEARNERS, D)).astype("float32")
    there = np.arange(6) < 5
    report = {"replicas": strategy.num_replicas_in_sync}
    for case in cases:
        name, _ = CASES[case]
        memory = (tf.constant([5, 0, 1, 1, 9, 0], tf.int64), others, there)
        for kind, references in (("batch", None), ("references", memory)):
            if references is not None and has_weights(name):
                continue
            given = (strategy, kernel, images, references)
            for labels, figures in compare(case, *given):
                report[f"{case} | {labels} | {kind}"] = figures
    print(json.dumps(report))
