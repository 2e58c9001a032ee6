"""A region rule with weights of its own learns from the scales after it."""

import numpy as np
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.models.embedder import core_of


def test_scales_that_are_looked_at_teach_the_ones_that_look():
    core = core_of(
        build_tiny(
            region_rule="separation",
            separation_learned=True,
            separation_least=0.0,
            input_size=48,
            resize_size=48,
            scales=3,
            learners=2,
        )
    )
    rules = [core.get_layer(f"scale{n}_object_attention") for n in (1, 2, 3)]
    assert [len(r.trainable_weights) for r in rules] == [2, 2, 0]
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 3)).astype("float32")
    of_first, of_second = (r.trainable_weights for r in rules[:2])
    for part, taught in ((0, [0, 0]), (1, [1, 0]), (2, [1, 1])):
        with tf.GradientTape() as tape:
            parts = core(images, training=True)["parts"]
            total = tf.reduce_sum(parts[:, part] ** 2 * np.arange(parts.shape[-1]))
        values = [v.value for v in [*of_first, *of_second]]
        gradients = tape.gradient(total, values, unconnected_gradients="zero")
        found = [np.abs(g).max() > 0 for g in gradients]
        assert found == [bool(taught[0])] * 2 + [bool(taught[1])] * 2
