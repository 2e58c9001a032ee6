import numpy as np
import pytest
import tensorflow as tf

from benchmarks.host_walk import host_attention
from benchmarks.walk import SIDE, smooth_features
from deml_tf.layers.object_attention import ObjectAttention
from deml_tf.layers.zoom import zoom

COUNT = 48


def overlaps(first, second):
    """Intersections over unions of boxes (b, 4)."""
    corner = np.maximum(first[:, :2], second[:, :2])
    opposite = np.minimum(first[:, 2:], second[:, 2:])
    shared = np.prod(np.maximum(opposite - corner, 0), axis=1)
    areas = sum(
        np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)
    )
    return shared / (areas - shared)


@pytest.fixture(scope="module")
def found():
    """Features' boxes and cut images as the host finds them."""
    features = smooth_features(COUNT, seed=1)
    # Smooth, as an image is: a box half a pixel aside must not change it much.
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    image = np.stack([y, x, y * x], axis=-1).astype("float32") * 255
    images = np.repeat(image[None], COUNT, axis=0)
    return features, images, *host_attention(features, images)


def test_host_and_layer_find_the_same_boxes(found):
    features, _, _, host = found
    layer = ObjectAttention(steps=10, border="clip", resolution=SIDE)
    boxes = layer(tf.constant(features))["boxes"].numpy() * SIDE
    shares = overlaps(boxes, host)
    assert shares.mean() > 0.95
    assert np.median(shares) > 0.98  # what differs is where 8 bit choose otherwise
    assert len(np.unique(host, axis=0)) > COUNT / 2  # else they could agree by chance


def test_host_and_layer_cut_the_same_images(found):
    _, images, views, host = found
    ours = zoom(images, tf.constant(host / SIDE, tf.float32), SIDE)
    np.testing.assert_allclose(views, ours, atol=0.1)
