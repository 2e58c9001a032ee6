"""Queries and gallery in a layout: the images that are embedded fit their boxes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.config import ScoreConfig
from deml_tf.data.example import Example
from deml_tf.data.images import read_example
from deml_tf.data.layouts import Layout
from deml_tf.retrieval import score_images
from deml_tf.retrieval.score_images import Images, embed_images

SIDE = 32


def painted_objects(folder, count, seed):
    """White objects on black."""
    random, examples = np.random.default_rng(seed), []
    folder.mkdir()
    for n in range(count):
        top, left = random.integers(1, 20, 2)  # no white at the border
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        image[top : top + 8, left : left + 12] = 255
        Image.fromarray(image).save(folder / f"{n}.png")
        box = top / SIDE, left / SIDE, (top + 8) / SIDE, (left + 12) / SIDE
        examples.append(Example(str(folder / f"{n}.png"), "a", box=box))
    return examples


def object_boxes(images):
    """Boxes (b, 4) of what is white."""
    found = []
    for image in np.asarray(images):
        rows, columns = np.nonzero(image[..., 0])
        found.append([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    return {"boxes": tf.constant(np.array(found) / SIDE)}


@pytest.mark.parametrize("layout", ["as_is", "shifted"])
def test_boxes_are_those_of_the_images_embedded(layout, tmp_path, monkeypatch):
    queries = painted_objects(tmp_path / "queries", 7, seed=1)
    gallery = painted_objects(tmp_path / "gallery", 9, seed=2)
    geometry = SimpleNamespace(resize_size=SIDE, fit="squash")
    monkeypatch.setattr(score_images, "geometry_of", lambda model: geometry)
    monkeypatch.setattr(score_images, "explainer", lambda model: model)
    monkeypatch.setattr(score_images, "inference", lambda model: lambda: object_boxes)
    images, model = Images(queries, gallery, layout, seed=3), None
    embedded = embed_images(model, images, ScoreConfig(scoring_batch_size=4))
    moved: Any = gallery
    if layout == "shifted":
        assert [e.box for e in images.queries] != [e.box for e in queries]
        moved = Layout("shifted", gallery, read_example, seed=3).examples
    expected = [example.box for example in images.queries]
    np.testing.assert_array_equal(embedded.queries["boxes"], expected)
    assert embedded.gallery is not None
    found = embedded.gallery["boxes"]
    np.testing.assert_array_equal(found, [example.box for example in moved])
