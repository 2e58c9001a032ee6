import os
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from deml_tf.data.example import Example
from deml_tf.models.embedder import Geometry
from deml_tf.serving import int8_loss, litert_format
from deml_tf.serving.formats import FORMATS
from deml_tf.serving.int8_loss import as_sentence, smallest_cosine, whole_classes
from deml_tf.serving.litert_format import FILE, INT8_FILE
from deml_tf.serving.source import Choice, Images
from deml_tf.serving.square_servable import SIGNATURE


def test_whole_classes():
    examples = [Example(f"{c}/{n}", c) for n in range(5) for c in "abcdefgh"]
    assert whole_classes(examples, 40) == examples
    kept = whole_classes(examples, 24)
    assert len(kept) == 20 and len({e.label for e in kept}) == 4
    assert kept == [e for e in examples if e in kept]
    assert len(whole_classes(examples, 1)) == 10
    assert whole_classes(examples[::-1], 24) == kept[::-1]


def test_names_of_classes_that_are_no_utf_8():
    examples = [Example(str(n), os.fsdecode(b"class \xff%d" % n)) for n in range(3)]
    assert len(whole_classes(examples, 2)) == 2


def test_smallest_cosine():
    exact = np.eye(3)[:2]
    rounded = np.array([[1.0, 0, 0], [0.8, 0.6, 0]])
    assert smallest_cosine(exact, rounded) == 0.6


def by_colour(squares):
    """Tells red from green, as bright as they may be."""
    colours = np.asarray(squares, "float32").mean((1, 2))
    return colours / np.linalg.norm(colours, axis=1, keepdims=True)


def by_brightness(squares):
    """Takes the two bright images for one class, and the two dark ones."""
    bright = np.asarray(squares).max((1, 2, 3)) > 150
    return np.eye(3, dtype="float32")[bright.astype(int)]


def test_which_file_loses(monkeypatch, tmp_path):
    """The names of the files are those that the format gives them."""
    embedders = {FILE: by_colour, INT8_FILE: by_brightness}
    monkeypatch.setattr(int8_loss, "_embedder", lambda path: embedders[path.name])
    examples, squares = [], []
    for label, colour in (("red", (1, 0, 0)), ("green", (0, 1, 0))):
        for value in (100, 200):
            path = tmp_path / f"{label} {value}.png"
            image = Image.new("RGB", (48, 48), tuple(value * c for c in colour))
            image.save(path)
            examples.append(Example(str(path), label))
            squares.append(np.asarray(image, "float32"))
    servable = SimpleNamespace(geometry=Geometry(48, 48, "squash"))
    trial = SimpleNamespace(inputs={SIGNATURE: np.stack(squares)})
    images = Images([], examples, "")
    choice = Choice("colours", (0,), (0,), false_accept_rate=0.1)
    measure: Any = FORMATS["litert"].measure
    measured = measure(servable, tmp_path, trial, choice, images)["int8"]
    assert measured["recall_at_1"] == {"float32": 1.0, "int8": 0.0}
    assert measured["map_at_r"] == {"float32": 1.0, "int8": 0.0}
    assert (measured["images"], measured["classes"]) == (4, 2)
    # An unknown's best cosine: 1 to an image as bright, and 0 to another colour.
    assert measured["threshold"]["cosine"] == pytest.approx(1)
    assert measured["threshold"]["true_accept_rate"] == 0


@pytest.mark.parametrize("quantize, int8", [("none", False), ("dynamic_int8", True)])
def test_the_file_of_8_bits_is_written_if_asked_for(
    quantize, int8, monkeypatch, tmp_path
):
    write = mock.Mock()
    monkeypatch.setattr(litert_format, "write_litert", write)
    choice: Any = Choice("colours", (0,), (0,), quantize=quantize)
    servable: Any = None
    FORMATS["litert"].write(servable, tmp_path, choice)
    write.assert_called_once_with(servable, tmp_path, int8)


def test_as_sentence():
    measured = {"smallest_cosine": 0.98765}
    assert "0.9877; no validation classes" in as_sentence(measured)
    measured |= {"images": 12, "classes": 3}
    measured |= {
        "recall_at_1": {"float32": 0.75, "int8": 0.5},
        "map_at_r": {"float32": 0.25, "int8": 0.5},
    }
    sentence = as_sentence(measured)
    assert "Recall@1 0.7500 -> 0.5000 (-0.2500), MAP@R" in sentence
    assert "0.5000 (+0.2500) on 12 images of 3 validation classes" in sentence
