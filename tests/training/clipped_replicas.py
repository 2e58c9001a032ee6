"""What a process of its own runs: steps of clipped gradients on two replicas."""

import itertools
import json
from typing import Any

import keras
import tensorflow as tf

from deml_tf.training.optimizer import GroupedAdam

START, GRADIENTS = [1.0, 2.0], ([0.3, 0.5], [-0.9, 0.1])
CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


def optimizer(clip, **arguments) -> Any:
    # Without so large an epsilon Adam's first step does not see the gradient's length.
    return GroupedAdam(0.1, epsilon=1.0, **{clip: 0.5}, **arguments)


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    report = {}
    for clip, scale in itertools.product(CLIPS, (None, 1024.0)):
        with strategy.scope():
            weight = keras.Variable(START, dtype="float32")
            adam = optimizer(clip, loss_scale_factor=scale)
            adam.build([weight])

        def step(gradient, adam=adam, weight=weight, scale=scale):
            adam.apply([gradient * (scale or 1.0)], [weight])

        def gradients(context):
            return tf.constant(GRADIENTS[context.replica_id_in_sync_group])

        values = strategy.experimental_distribute_values_from_function(gradients)
        tf.function(strategy.run, autograph=False)(step, (values,))
        report[f"{clip} {scale}"] = weight.numpy().tolist()
    print(json.dumps(report))
