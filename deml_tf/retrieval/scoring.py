"""From a model's outputs to its scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.retrieval.metrics import evaluate


def score(
    outputs: Mapping[str, np.ndarray],
    examples: Sequence[Example],
    *,
    ranks: Sequence[int],
    seed: int = 0,
    gallery_outputs: Mapping[str, np.ndarray] | None = None,
    gallery: Sequence[Example] = (),
) -> dict[str, Any]:
    """Score an explainer's outputs: the embedding, each scale, and object attention.

    Args:
        outputs: What `embed` returns for an `explainer`.
        examples: The images, in the same order.
        ranks: K of Recall@K.
        seed: Of k-means; default 0.
        gallery_outputs: As `outputs`, of the images that are searched, where these
            are others; by default each image is searched for in all others.
        gallery: The examples of the gallery.

    Returns:
        `joined` (metrics of the embedding, with NMI), `per_scale` (for each scale the
        metrics of its parts) and `object_attention` (`fallback_share`, the share of
        walks without a region among those whose box is zoomed to; `mean_box` of each
        scale; and `iou` of each scale, None unless all examples have boxes).
    """
    labels, gallery_labels = labels_of(examples, gallery)

    def compare(vectors: Callable[[Mapping[str, np.ndarray]], np.ndarray], **options):
        searched = None if gallery_outputs is None else vectors(gallery_outputs)
        return evaluate(
            vectors(outputs),
            labels,
            ranks,
            gallery_embeddings=searched,
            gallery_labels=gallery_labels,
            **options,
        )

    def of_scale(i: int):
        return lambda given: given["parts"][:, i].reshape(len(given["parts"]), -1)

    return {
        "joined": compare(lambda given: given["embedding"], nmi=True, seed=seed),
        "per_scale": [
            {"scale": i + 1, **compare(of_scale(i))}
            for i in range(outputs["parts"].shape[1])
        ],
        "object_attention": _object_attention(outputs, examples),
    }


def labels_of(
    examples: Sequence[Example], gallery: Sequence[Example] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """Give the classes of queries and gallery numbers, the same in both.

    Args:
        examples: The queries.
        gallery: The images that are searched, where these are others.

    Returns:
        (n,) and (m,) int32, the same number for a class in both; None in place of the
        second where there is no gallery.
    """
    numbers, _ = class_ids([*examples, *gallery])
    n = len(examples)
    return numbers[:n], numbers[n:] if len(gallery) else None


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the area that boxes share over the area that they cover together.

    Args:
        a: (..., 4), ymin, xmin, ymax, xmax.
        b: (..., 4), of a shape that broadcasts with a's.

    Returns:
        (...), from 0 to 1.
    """
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def _object_attention(
    outputs: Mapping[str, np.ndarray], examples: Sequence[Example]
) -> dict[str, Any]:
    boxes = outputs["boxes"]
    walks = outputs["fallback"][:, :-1]  # the last scale's box is not used
    iou = None
    if all(example.box is not None for example in examples):
        truth = np.array([example.box for example in examples])[:, None]  # (b, 1, 4)
        iou = intersection_over_union(boxes, truth).mean(axis=0).tolist()
    return {
        "fallback_share": float(walks.mean()) if walks.size else 0.0,
        "mean_box": boxes.mean(axis=0).tolist(),
        "iou": iou,
    }
