"""From pictures to scores: embed, rank, score."""

import numpy as np
import tensorflow as tf
from rich.progress import track

from deml_tf.data.batches import class_ids, scoring_dataset
from deml_tf.retrieval.metrics import evaluate


def inference(model):
    """The model's forward pass as a graph, for `embed`."""
    return tf.function(
        lambda images: model(images, training=False), reduce_retracing=True
    )


def embed(forward, examples, *, resize_size, fit, batch_size=64, progress=None):
    """Runs a model over pictures.

    Args:
        forward: What `inference` gives.
        examples: Sequence of `Example`.
        resize_size: Side in pixels that the pictures are brought to beforehand.
        fit: "squash" or "pad".
        batch_size: Pictures at once.
        progress: Title of a progress bar; None shows none.

    Returns:
        The output as one array `(n, ...)`, or a dict of arrays.
    """
    dataset = scoring_dataset(
        examples, resize_size=resize_size, fit=fit, batch_size=batch_size
    )
    batches = -(-len(examples) // batch_size)
    outputs = [
        tf.nest.map_structure(lambda t: t.numpy(), forward(images))
        for images in track(
            dataset, progress or "", total=batches, disable=progress is None
        )
    ]
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *outputs)


def score(outputs, examples, *, ranks, seed=0):
    """Scores an explainer's outputs: joined, by scale, and where it looked.

    Args:
        outputs: Dict of arrays from `embed` of an `explainer`.
        examples: The pictures, in the same order.
        ranks: K of Recall@K.
        seed: Of k-means.

    Returns:
        Dict of `joined` (metrics of the embedding, with NMI), `per_scale` (list of
        metrics of each scale's parts) and `object_attention` (`fallback_share` over
        the walks that zoomed, `mean_box` by scale, and, where the examples have
        boxes, `iou` by scale).
    """
    labels, _ = class_ids(examples)
    parts = outputs["parts"]
    per_scale = [
        {
            "scale": i + 1,
            **evaluate(parts[:, i].reshape(len(parts), -1), labels, ranks),
        }
        for i in range(parts.shape[1])
    ]
    boxes = outputs["boxes"]
    walks = outputs["fallback"][:, :-1]  # the last scale's box is not used
    attention = {
        "fallback_share": float(walks.mean()) if walks.size else 0.0,
        "mean_box": boxes.mean(axis=0).tolist(),
        "iou": None,
    }
    if all(example.box is not None for example in examples):
        truth = np.array([example.box for example in examples])[:, None]  # (b, 1, 4)
        attention["iou"] = intersection_over_union(boxes, truth).mean(axis=0).tolist()
    joined = evaluate(outputs["embedding"], labels, ranks, nmi=True, seed=seed)
    return {"joined": joined, "per_scale": per_scale, "object_attention": attention}


def intersection_over_union(a, b):
    """Shared area over joint area of boxes `(..., 4)`: ymin, xmin, ymax, xmax."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared)
