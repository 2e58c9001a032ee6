import numpy as np
from PIL import Image

from deml_tf.data.example import Example
from deml_tf.reports.examples import retrievals


def test_hits_of_a_gallery(tmp_path):
    examples = []
    for n, label in enumerate("abcab"):
        path = str(tmp_path / f"{n}.png")
        Image.new("RGB", (8, 8), (10 * n, 0, 0)).save(path)
        examples.append(Example(path, label))
    vectors = np.array([[1, 0], [0, 1], [1, 1], [1, 0.1], [0.9, 0.2]])
    found = retrievals(
        vectors[:2],
        examples[:2],
        gallery_embeddings=vectors[2:],
        gallery=examples[2:],
    )
    assert {query.label for query in found} == {"a", "b"}
    for query in found:
        names = [(n.label, n.hit, int(n.image[0, 0, 0])) for n in query.neighbours]
        if query.label == "a":
            assert names == [("a", True, 30), ("b", False, 40), ("c", False, 20)]
        else:
            assert names == [("c", False, 20), ("b", True, 40), ("a", False, 30)]
