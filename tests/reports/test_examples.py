import numpy as np
from PIL import Image

from deml_tf.data.example import Example
from deml_tf.reports.examples import attention_examples, retrievals


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


def test_views_are_what_the_scales_saw_padding_included(tmp_path):
    path = str(tmp_path / "wide.png")
    Image.new("RGB", (80, 40), (200, 0, 0)).save(path)
    whole = np.float32([[[0, 0, 1, 1]]])
    outputs = {"boxes": whole, "saliency": np.ones((1, 1, 4, 4))}
    (plain,) = attention_examples(outputs, [Example(path, "a")])
    outputs["views"] = np.float32([[[-0.5, 0, 1.5, 1]]])
    (padded,) = attention_examples(outputs, [Example(path, "a")])
    np.testing.assert_array_equal(padded.boxes, plain.boxes)
    assert plain.crops is not None and padded.crops is not None
    assert plain.crops[..., 0].min() == 200
    side = len(padded.crops[0])
    assert padded.crops[0, : side // 4 - 1].max() == 0
    assert padded.crops[0, side // 4 + 1 : 3 * side // 4 - 1, :, 0].min() == 200
