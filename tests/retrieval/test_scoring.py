import numpy as np
import pytest

from deml_tf.data.example import Example
from deml_tf.retrieval.diagnostics import (
    embedding_spread,
    learner_cosine,
    learner_predictability,
)
from deml_tf.retrieval.metrics import evaluate
from deml_tf.retrieval.scoring import score


def outputs_of(count=12, scales=2):
    random = np.random.default_rng(0)
    parts = random.normal(size=(count, scales, 3, 4)).astype("float32")
    boxes = np.tile([0.0, 0.0, 1.0, 1.0], (count, scales, 1))
    boxes[:, 1:] = [0.25, 0.25, 0.75, 0.75]
    fallback = np.zeros((count, scales), bool)
    fallback[:3, 0] = True
    fallback[:, -1] = True  # of the last scale, whose box is not used
    return {
        "embedding": parts.reshape(count, -1),
        "parts": parts,
        "boxes": boxes,
        "saliency": np.ones((count, scales, 2, 2)),
        "fallback": fallback,
    }


def test_score():
    outputs = outputs_of()
    labels = np.repeat(np.arange(4), 3)
    box = (0.25, 0.25, 0.75, 0.75)
    examples = [
        Example(f"{n}.png", f"class {c}", box=box) for n, c in enumerate(labels)
    ]
    scores = score(outputs, examples, ranks=(1, 2), seed=3)
    joined = evaluate(outputs["embedding"], labels, (1, 2), nmi=True, seed=3)
    assert scores["joined"] == joined
    for i in range(2):
        alone = evaluate(outputs["parts"][:, i].reshape(12, -1), labels, (1, 2))
        assert scores["per_scale"][i] == {"scale": i + 1, **alone}
    for i, recalls in enumerate(scores["learners"]["recall_at_1"]):
        for j, recall in enumerate(recalls):
            alone = evaluate(outputs["parts"][:, i, j], labels, (1,))
            assert recall == alone["recall_at_1"]
    parts = outputs["parts"]
    predictability = learner_predictability(parts, labels, 3)
    assert scores["learners"]["cosine"] == learner_cosine(parts)
    assert scores["learners"]["predictability"] == predictability
    assert scores["embedding"] == embedding_spread(outputs["embedding"])
    attention = scores["object_attention"]
    assert attention["fallback_share"] == pytest.approx(3 / 12)
    np.testing.assert_allclose(attention["mean_box"][1], box)
    np.testing.assert_allclose(attention["iou"], [0.25, 1.0])


def test_score_against_a_gallery():
    outputs, labels = outputs_of(), np.repeat(np.arange(4), 3)
    queries = {name: values[:5] for name, values in outputs.items()}
    gallery = {name: values[5:] for name, values in outputs.items()}
    examples = [
        Example(f"{n}.png", f"class {c}", box=None if n > 4 else (0, 0, 1, 1))
        for n, c in enumerate(labels)
    ]
    scores = score(
        queries,
        examples[:5],
        ranks=(1, 3),
        gallery_outputs=gallery,
        gallery=examples[5:],
    )

    def recall(vectors, k):
        """By hand; class 0 is not in the gallery, so only queries 3 and 4 count."""
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        order = np.argsort(-units[3:5] @ units[5:].T, axis=1)[:, :k]
        return np.mean((labels[5:][order] == labels[3:5, None]).any(axis=1))

    for k in (1, 3):
        name = f"recall_at_{k}"
        assert scores["joined"][name] == recall(outputs["embedding"], k)
        for i in range(2):
            part = outputs["parts"][:, i].reshape(12, -1)
            assert scores["per_scale"][i][name] == recall(part, k)
    assert scores["joined"]["queries"] == 2
    assert scores["joined"]["queries_left_out"] == 3
    np.testing.assert_allclose(scores["object_attention"]["iou"], [1.0, 0.25])


def test_score_without_boxes_or_zoom():
    outputs = outputs_of(scales=1)
    examples = [Example(f"{n}.png", f"class {n % 4}") for n in range(12)]
    attention = score(outputs, examples, ranks=(1,))["object_attention"]
    assert attention["iou"] is None and attention["fallback_share"] == 0.0


def test_score_of_one_learner_and_of_a_dead_one():
    outputs, labels = outputs_of(), np.repeat(np.arange(4), 3)
    examples = [Example(f"{n}.png", f"class {c}") for n, c in enumerate(labels)]
    one = {**outputs, "parts": outputs["parts"][:, :, :1]}
    scores = score(one, examples, ranks=(1, 2))
    assert scores["learners"]["cosine"] == [None, None]
    assert scores["learners"]["predictability"] == [None, None]
    recalls = [[row["recall_at_1"]] for row in scores["per_scale"]]
    assert scores["learners"]["recall_at_1"] == recalls
    assert score(one, examples, ranks=(2,))["learners"]["recall_at_1"] == recalls
    one["parts"][2, 1] = 0  # of one image is enough
    scores = score(one, examples, ranks=(1, 2))
    assert scores["per_scale"][1] == {"scale": 2}
    assert scores["learners"]["recall_at_1"] == [recalls[0], [None]]
    outputs = outputs_of()
    outputs["parts"][:, 1, 2] = 0
    recalls = score(outputs, examples, ranks=(1,))["learners"]["recall_at_1"]
    assert [[r is None for r in row] for row in recalls] == [
        [False, False, False],
        [False, False, True],
    ]
