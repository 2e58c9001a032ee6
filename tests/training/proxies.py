"""A metric loss with weights of its own, for tests."""

import keras
import tensorflow as tf


class Proxies(keras.layers.Layer):
    """Cross-entropy of the cosines to one vector for each class.

    Args:
        num_classes: Training classes.
        slope: Factor on the cosines.
        rate_multiplier: On the learning rate of the vectors.
        l2: Of the vectors.
    """

    def __init__(
        self,
        num_classes: int,
        slope: float = 8.0,
        rate_multiplier: float = 10.0,
        l2: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.slope = slope
        self.rate_multiplier = rate_multiplier
        self.l2 = l2

    def build(self, labels_shape, embeddings_shape):
        self.proxies = self.add_weight(
            name="proxies",
            shape=(self.num_classes, embeddings_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )

    def call(self, labels, embeddings):
        unit = tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=-1)
        proxies = tf.math.l2_normalize(tf.convert_to_tensor(self.proxies), axis=-1)
        cosines = tf.einsum("bjd,kd->bjk", unit, proxies)
        learners = tf.shape(embeddings)[1]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.repeat(labels[:, None], learners, axis=1), self.slope * cosines
        )
        return tf.reduce_mean(losses, axis=1)  # (b,)
