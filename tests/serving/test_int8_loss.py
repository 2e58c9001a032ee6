import os

import numpy as np

from deml_tf.data.example import Example
from deml_tf.serving.int8_loss import as_sentence, smallest_cosine, whole_classes


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
