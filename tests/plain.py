"""A backbone of two convolutions, for tests of what is around it."""

import keras

from deml_tf.backbones import Architecture


def build(input_size):
    images = keras.Input((input_size, input_size, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(16, 3, 4, activation="relu", name="first")(x)
    x = keras.layers.Conv2D(32, 3, 2, activation="relu", name="second")(x)
    return keras.Model(images, x)


PLAIN = Architecture(build, {"first": "first"}, gate_bias=0.0)
# Arguments of `build_deml` once PLAIN is registered as "plain".
TINY = {"backbone": "plain", "weights": "none", "input_size": 48, "embedding_dim": 32}
