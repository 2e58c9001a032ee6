"""From a model's outputs to its scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.errors import DataError
from deml_tf.retrieval.attention_scores import score_attention
from deml_tf.retrieval.diagnostics import (
    embedding_spread,
    learner_cosine,
    learner_predictability,
)
from deml_tf.retrieval.metrics import evaluate

FIRST = "recall_at_1"
Vectors = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def score(
    outputs: Mapping[str, np.ndarray],
    examples: Sequence[Example],
    *,
    ranks: Sequence[int],
    seed: int = 0,
    gallery_outputs: Mapping[str, np.ndarray] | None = None,
    gallery: Sequence[Example] = (),
) -> dict[str, Any]:
    """Score an explainer's outputs: embedding, scales, learners and object attention.

    Args:
        outputs: What `embed` returns for an `explainer`.
        examples: The images, in the same order.
        ranks: The K of Recall@K.
        seed: Seed of k-means; default 0.
        gallery_outputs: As `outputs`, of the images to search if they are others; by
            default each image is searched for among all others.
        gallery: The examples of the gallery.

    Returns:
        `joined` (metrics of the embedding, with NMI), `per_scale` (for each scale the
        metrics of its parts, none for a scale that gives zeros); `learners` (for each
        scale their `cosine` and `predictability`, see `diagnostics`, None for a single
        learner, and the `recall_at_1` of each part (i, j), None for a part that gives
        zeros); `embedding` (its `variance` and `effective_rank`, see
        `embedding_spread`) and `object_attention` (what `score_attention` returns).
    """
    labels, gallery_labels = labels_of(examples, gallery)

    def compare(vectors: Vectors, only: Sequence[int] = ranks, **options):
        searched = None if gallery_outputs is None else vectors(gallery_outputs)
        return evaluate(
            vectors(outputs),
            labels,
            only,
            gallery_embeddings=searched,
            gallery_labels=gallery_labels,
            **options,
        )

    def of_scale(i: int):
        return lambda given: given["parts"][:, i].reshape(len(given["parts"]), -1)

    def compare_alone(vectors: Vectors, only: Sequence[int] = ranks) -> dict[str, Any]:
        try:
            return compare(vectors, only)
        except DataError:  # the part gives zeros, so it finds nothing
            return {}

    def recall_of(i: int, j: int) -> float | None:
        found = compare_alone(lambda given: given["parts"][:, i, j], only=(1,))
        return found.get(FIRST)

    parts = outputs["parts"]
    scales, learners = (range(count) for count in parts.shape[1:3])
    per_scale = [{"scale": i + 1, **compare_alone(of_scale(i))} for i in scales]
    alone = len(learners) == 1 and 1 in ranks  # the scale's metrics are the part's
    return {
        "joined": compare(lambda given: given["embedding"], nmi=True, seed=seed),
        "per_scale": per_scale,
        "learners": {
            "cosine": learner_cosine(parts),
            "predictability": learner_predictability(parts, labels, seed),
            "recall_at_1": [
                [row.get(FIRST) if alone else recall_of(i, j) for j in learners]
                for i, row in enumerate(per_scale)
            ],
        },
        "embedding": embedding_spread(outputs["embedding"]),
        "object_attention": attention_of(outputs, examples),
    }


def attention_of(
    outputs: Mapping[str, np.ndarray], examples: Sequence[Example]
) -> dict[str, Any]:
    """Score where an explainer looked, without its embedding.

    Args:
        outputs: What `embed` returns for an `explainer`.
        examples: The images, in the same order.

    Returns:
        What `score_attention` returns, without listed boxes unless all examples have
        one.
    """
    boxes = [example.box for example in examples]
    return score_attention(
        outputs["boxes"],
        outputs["saliency"],
        outputs["fallback"],
        None if None in boxes else np.array(boxes),
    )


def labels_of(
    examples: Sequence[Example], gallery: Sequence[Example] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """Assign numbers to the classes of queries and gallery.

    Args:
        examples: The queries.
        gallery: The images to search, if they are others.

    Returns:
        (n,) and (m,) int32, the same number for a class in both; None instead of the
        second if there is no gallery.
    """
    numbers, _ = class_ids([*examples, *gallery])
    n = len(examples)
    return numbers[:n], numbers[n:] if len(gallery) else None
