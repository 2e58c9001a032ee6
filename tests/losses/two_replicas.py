"""What a process of its own runs: two replicas against one device, as JSON."""

import functools
import json

import keras
import numpy as np
import tensorflow as tf

from deml_tf.losses import BinomialDeviance, binomial_deviance

LABELS = {
    "pairs within": [0, 0, 1, 1, 2, 2, 3, 3],
    "pairs across": [0, 1, 2, 3, 0, 1, 2, 3],
    "mixed": [5, 1, 5, 5, 1, 7, 1, 1],
    "one class": [4] * 8,
    "all different": list(range(8)),
}
LEARNERS = 3
HALVES = (slice(0, 4), slice(4, 8))


def embed(kernel, images):
    """A model with one weight, so that its gradient tells all."""
    flat = tf.tanh(images @ kernel)
    return tf.reshape(flat, [-1, LEARNERS, kernel.shape[1] // LEARNERS])


def by_function(labels, embeddings):
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.reduce_mean(binomial_deviance(labels, embeddings)) / replicas


def one_device(loss, kernel, images, labels):
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        value = loss(labels, embed(kernel, images))
    return value, tape.gradient(value, kernel)


@functools.cache  # traced once for all labels
def step_of(strategy, loss, dynamic):
    """A function of kernel, images and labels: the sums of values and gradients."""

    def step(kernel, images, labels):
        if dynamic:  # hide the static batch size
            images = tf.boolean_mask(images, tf.ones_like(labels) > 0)
            labels = tf.boolean_mask(labels, tf.ones_like(labels) > 0)
            assert images.shape[0] is None and labels.shape[0] is None
        value, gradient = one_device(loss, kernel, images, labels)
        context = tf.distribute.get_replica_context()
        return context.all_reduce("sum", [value, gradient])

    return tf.function(lambda *given: strategy.run(step, given))


def both_replicas(strategy, loss, kernel, images, labels, shape):
    """Runs each half on its replica and adds up values and gradients."""

    def share(values):
        halves = np.split(values, 2) if shape != "uneven" else np.split(values, [5])
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(halves[context.replica_id_in_sync_group])
        )

    run = step_of(strategy, loss, shape == "dynamic")
    value, gradient = run(kernel, share(images), share(labels))
    first = strategy.experimental_local_results
    return first(value)[0], first(gradient)[0]


def fitted(strategy, images, labels):
    """Weights after five steps of Keras fit."""
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input([images.shape[1]]),
                keras.layers.Dense(6, use_bias=False, kernel_initializer="ones"),
            ]
        )
        start = np.linspace(-1, 1, images.shape[1] * 6).reshape(-1, 6)
        model.layers[0].set_weights([np.sin(7 * start)])
        model.compile(keras.optimizers.SGD(0.01), BinomialDeviance())
    data = tf.data.Dataset.from_tensors((images, labels)).unbatch()
    data = data.batch(8, drop_remainder=True).repeat(5)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    history = model.fit(data.with_options(options), verbose=0).history
    return model.layers[0].get_weights()[0], history["loss"][0]


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 5)).astype("float32")
    kernel = tf.constant(random.normal(size=(5, 4 * LEARNERS)), tf.float32)

    report = {"replicas": strategy.num_replicas_in_sync, "cases": {}}
    losses = {"function": by_function, "loss": BinomialDeviance()}
    for name, labels in LABELS.items():
        labels = np.array(labels, np.int64)
        for kind, loss in losses.items():
            wanted = one_device(loss, kernel, images, labels)
            for shape in ["static", "dynamic"] if name == "mixed" else ["static"]:
                found = both_replicas(strategy, loss, kernel, images, labels, shape)
                report["cases"][f"{name}, {kind}, {shape}"] = {
                    "value": [float(found[0]), float(wanted[0])],
                    "gradient_error": float(np.max(np.abs(found[1] - wanted[1]))),
                    "gradient_size": float(np.max(np.abs(wanted[1]))),
                }

    labels = np.array(LABELS["mixed"], np.int64)
    # Within replicas: the mean of each half's own value.
    local = BinomialDeviance(pairs="replica")
    halves = [one_device(local, kernel, images[h], labels[h]) for h in HALVES]
    value, gradient = both_replicas(strategy, local, kernel, images, labels, "static")
    wanted = tf.add_n([g for _, g in halves]) / 2
    report["within replicas"] = {
        "value": [float(value), float(sum(v for v, _ in halves) / 2)],
        "gradient_error": float(np.max(np.abs(gradient - wanted))),
        "gradient_size": float(np.max(np.abs(wanted))),
    }
    try:
        both_replicas(strategy, by_function, kernel, images, labels, "uneven")
        report["uneven"] = "no error"
    except tf.errors.InvalidArgumentError as error:
        report["uneven"] = str(error)
    single, single_loss = fitted(tf.distribute.get_strategy(), images, labels)
    mirrored, mirrored_loss = fitted(strategy, images, labels)
    report["fit"] = {
        "weight_error": float(np.max(np.abs(single - mirrored))),
        "losses": [mirrored_loss, single_loss],
    }
    print(json.dumps(report))
