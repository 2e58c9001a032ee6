"""From images to scores: embed, rank, score."""

import numpy as np
import tensorflow as tf
from rich.progress import track

from deml_tf.data.batches import class_ids, scoring_dataset
from deml_tf.kernels.compiled import compiled_parts
from deml_tf.kernels.folding import FoldedWeights
from deml_tf.layers.prepare import boxes_to_original
from deml_tf.retrieval.metrics import evaluate


def inference(model):
    """The model's forward pass as a graph.

    Returns:
        A function without arguments, to be called before each pass over images: it
        takes the weights as they are and gives the forward pass, what `embed` takes,
        traced once for all calls.
    """
    weights = FoldedWeights(model)

    @tf.function(reduce_retracing=True, autograph=False)
    def forward(images):
        with compiled_parts(), weights.used():
            return model(images, training=False)

    def begin():
        weights.update()
        return forward

    return begin


def embed(forward, examples, *, resize_size, fit, batch_size=64, progress=None):
    """Runs a model over images.

    Args:
        forward: Function of images `(b, h, w, 3)`, as `inference(model)()` gives.
        examples: Sequence of `Example`.
        resize_size: Side in pixels that the images are brought to beforehand.
        fit: "squash" or "pad".
        batch_size: Images at once.
        progress: Title of a progress bar; None shows none.

    Returns:
        The output as one array `(n, ...)`, or a dict of arrays, whose `boxes` are
        relative to the images as they were before they became square.
    """
    dataset = scoring_dataset(
        examples, resize_size=resize_size, fit=fit, batch_size=batch_size
    )
    batches = -(-len(examples) // batch_size)
    outputs = []
    for images, shapes in track(
        dataset, progress or "", total=batches, disable=progress is None
    ):
        found = forward(images)
        if fit == "pad" and isinstance(found, dict):
            sides = (resize_size, resize_size)
            boxes = boxes_to_original(found["boxes"], shapes, *sides, fit)
            found = found | {"boxes": boxes}
        outputs.append(tf.nest.map_structure(lambda t: t.numpy(), found))
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *outputs)


def score(outputs, examples, *, ranks, seed=0, gallery_outputs=None, gallery=()):
    """Scores an explainer's outputs: joined, by scale, and where it looked.

    Args:
        outputs: Dict of arrays from `embed` of an `explainer`.
        examples: The images, in the same order.
        ranks: K of Recall@K.
        seed: Of k-means.
        gallery_outputs: As outputs, of the images that are searched, where these
            are others; None: each image is searched in all others.
        gallery: Their examples.

    Returns:
        Dict of `joined` (metrics of the embedding, with NMI), `per_scale` (list of
        metrics of each scale's parts) and `object_attention` (`fallback_share` over
        the walks that zoomed, `mean_box` by scale, and, where the examples have
        boxes, `iou` by scale).
    """
    labels, gallery_labels = labels_of(examples, gallery)

    def compare(vectors, **options):
        searched = None if gallery_outputs is None else vectors(gallery_outputs)
        return evaluate(
            vectors(outputs),
            labels,
            ranks,
            gallery_embeddings=searched,
            gallery_labels=gallery_labels,
            **options,
        )

    def of_scale(i):
        return lambda given: given["parts"][:, i].reshape(len(given["parts"]), -1)

    per_scale = [
        {"scale": i + 1, **compare(of_scale(i))}
        for i in range(outputs["parts"].shape[1])
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
    joined = compare(lambda given: given["embedding"], nmi=True, seed=seed)
    return {"joined": joined, "per_scale": per_scale, "object_attention": attention}


def labels_of(examples, gallery=()):
    """Class numbers of queries and of what they are searched in.

    Args:
        examples: The queries.
        gallery: The images that are searched, where these are others.

    Returns:
        `(n,)` and `(m,)` int32, one number a class in both; None in place of the
        second where there is no gallery.
    """
    numbers, _ = class_ids([*examples, *gallery])
    n = len(examples)
    return numbers[:n], numbers[n:] if len(gallery) else None


def intersection_over_union(a, b):
    """Shared area over joint area of boxes `(..., 4)`: ymin, xmin, ymax, xmax."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared)
