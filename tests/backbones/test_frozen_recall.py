"""The ImageNet weights on photographs: frozen recall on unseen bird species."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.backbones import build_backbone

PHOTOS = Path(__file__).parents[2] / "../shared/data/cub200_2010/images"


def photos(step):
    """Images and labels of every so many of the last hundred species."""
    if not PHOTOS.is_dir():
        pytest.skip("the bird photographs are not here")
    folders = sorted(folder for folder in PHOTOS.iterdir() if folder.is_dir())
    folders = folders[100::step]
    files = [(f, n) for n, d in enumerate(folders) for f in sorted(d.glob("*.jpg"))]
    images = [np.asarray(Image.open(f).convert("RGB")) for f, _ in files]
    return np.stack(images), np.array([n for _, n in files])


def centre_160(images):
    large = [
        np.asarray(Image.fromarray(p).resize((176, 176), Image.Resampling.BILINEAR))
        for p in images
    ]
    return np.stack(large)[:, 8:168, 8:168]


def recall(features, labels, ranks=(1, 2, 4, 8)):
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = features @ features.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, : max(ranks)]
    hits = labels[nearest] == labels[:, None]
    return [hits[:, :k].any(axis=1).mean() for k in ranks]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "step", "count", "expected"),
    [
        pytest.param(
            *(224, 1, 3043, (0.587, 0.703, 0.804, 0.879)),
            marks=pytest.mark.long,
        ),
        (160, 5, 613, (0.827, 0.896, 0.941, 0.967)),
    ],
)
def test_frozen_recall_on_unseen_birds(size, step, count, expected):
    images, labels = photos(step)
    assert images.shape == (count, 224, 224, 3)
    if size == 160:
        images = centre_160(images)
    backbone = build_backbone("efficientnet_lite0", input_size=size)

    @tf.function
    def embed(batch):
        final = backbone.upper(backbone.lower(batch))[1]
        return tf.reduce_mean(final, axis=(1, 2))

    features = [
        embed(tf.cast(images[i : i + 64], tf.float32)).numpy()
        for i in range(0, len(images), 64)
    ]
    measured = recall(np.concatenate(features), labels)
    print(size, np.round(measured, 4))
    assert measured == pytest.approx(expected, abs=0.005)
