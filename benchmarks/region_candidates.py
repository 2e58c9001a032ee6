"""Region rules that lost against those of the package, kept for comparison."""

import keras
import numpy as np
import tensorflow as tf

from deml_tf.layers.random_walk import (
    feature_distances,
    location_kernel,
    stationary,
)
from deml_tf.layers.regions import region_boxes


def border(h, w):
    """Return whether each position of a map is at its border: (h * w,)."""
    rows, columns = np.divmod(np.arange(h * w), w)
    return (rows % (h - 1) == 0) | (columns % (w - 1) == 0)


class Thresholded(keras.layers.Layer):
    """A saliency map, and the square around its largest region above a threshold."""

    multi_layer = False

    def __init__(self, threshold, **arguments):
        super().__init__()
        self.threshold, self.arguments = threshold, arguments

    def call(self, features):
        """Return only the boxes."""
        _, h, w, c = features.shape
        flat = tf.reshape(features, (-1, h * w, c))
        maps = tf.reshape(self.saliency(flat, h, w, **self.arguments), (-1, h, w))
        return {"boxes": region_boxes(maps, threshold=self.threshold)[0]}


class Contrast(Thresholded):
    """Distance from the mean feature at the border."""

    def saliency(self, flat, h, w):
        """Return (b, h * w)."""
        ground = tf.boolean_mask(flat, border(h, w), axis=1)
        return tf.norm(flat - tf.reduce_mean(ground, axis=1, keepdims=True), axis=2)


class Personalised(Thresholded):
    """The walk, which returns in 15 % of its steps to where the contrast is high."""

    def saliency(self, flat, h, w):
        """Return (b, h * w)."""
        weights = feature_distances(flat)[0] * location_kernel(h, w, 0.15)
        chain = weights / tf.reduce_sum(weights, axis=1, keepdims=True)
        start = Contrast(None).saliency(flat, h, w) ** 2
        system = tf.eye(h * w) - 0.85 * chain
        return tf.linalg.solve(system, start[:, :, None])[:, :, 0]


class Absorbing(Thresholded):
    """Expected number of steps, between similar positions, until the border absorbs."""

    def saliency(self, flat, h, w):
        """Return (b, h * w), 0 at the border."""
        distances = feature_distances(flat)[0]
        width = 0.5 * tf.reduce_mean(distances, axis=(1, 2), keepdims=True)
        alike = tf.exp(-((distances / width) ** 2)) * location_kernel(h, w, 0.15)
        chain = alike / tf.reduce_sum(alike, axis=2, keepdims=True)
        inside = np.flatnonzero(~border(h, w))
        within = tf.gather(tf.gather(chain, inside, axis=1), inside, axis=2)
        system = tf.eye(len(inside)) * (1 + 1e-6) - within
        steps = tf.linalg.solve(system, tf.ones_like(within[:, :, :1]))[:, :, 0]
        return tf.linalg.matmul(steps, np.eye(h * w, dtype="float32")[inside])


def box_of_mean_maps(means):
    """Return the paper's box, from one graph for all images.

    Its distances are the means over classes of those between the positions of a class's
    mean map.

    Args:
        means: (classes, h, w, c).
    """
    _, h, w, c = means.shape
    distances = feature_distances(tf.reshape(means, (-1, h * w, c)))[0]
    graph = tf.reduce_mean(distances, axis=0, keepdims=True)
    saliency = stationary(graph * location_kernel(h, w, 0.15))
    return region_boxes(tf.reshape(saliency, (1, h, w)))[0].numpy()[0]
