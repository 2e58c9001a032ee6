"""A small triplet training, as it was with TensorFlow Addons and as it is with us.

    python migration.py addons|ours OUT.npy

writes the losses of 50 steps. But for two lines the program is the same.
"""

# pyright: reportMissingImports=false

import sys

import numpy as np


def main(whose, path):
    if whose == "addons":
        import tensorflow as tf
        import tensorflow_addons as tfa

        keras, loss = tf.keras, tfa.losses.TripletSemiHardLoss(margin=0.5)
    else:
        import keras

        from deml_tf.losses import Triplet

        loss = Triplet(margin=0.5)
    random = np.random.default_rng(0)
    centres = random.normal(size=(20, 16))
    labels = random.permuted(np.tile(np.repeat(np.arange(20), 2), (50, 1)), axis=1)
    images = centres[labels] + random.normal(size=(*labels.shape, 16))
    model = keras.Sequential(
        [
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(8),
            keras.layers.UnitNormalization(),
        ]
    )
    model.build((None, 16))
    model.set_weights([random.normal(size=w.shape) / 4 for w in model.get_weights()])
    model.compile(keras.optimizers.Adam(1e-2, epsilon=1e-7), loss)
    losses = [
        model.train_on_batch(x.astype("float32"), y)
        for x, y in zip(images, labels, strict=True)
    ]
    np.save(path, np.array(losses, "float64"))


if __name__ == "__main__":
    main(*sys.argv[1:])
