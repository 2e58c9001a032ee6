"""The cosine below which an answer is "unknown", measured on held-out classes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.data.scan import refuse_bad
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import Geometry
from deml_tf.retrieval.embedding import embed
from deml_tf.serving.servable import Servable

_BLOCK = 1024  # queries compared at a time


def check_rate(false_accept_rate: float) -> None:
    """Refuse a rate that is out of range.

    Args:
        false_accept_rate: See `calibrate`.

    Raises:
        UsageError: It is not between 0 and 1.
    """
    if not 0 < false_accept_rate < 1:
        raise UsageError(
            f"false_accept_rate={false_accept_rate}: give a share above 0 and below "
            "1, such as 0.01."
        )


def from_classes(
    servable: Servable,
    examples: Sequence[Example],
    false_accept_rate: float,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Embed images of classes not trained on, and calibrate on them.

    Args:
        servable: The embedder as it will be served.
        examples: Examples of the classes.
        false_accept_rate: See `calibrate`.
        batch_size: Images embedded at once, by default 64.

    Returns:
        The result of `calibrate`.

    Raises:
        DataError: An image cannot be read, or there is only one class.
    """
    forward = tf.function(
        lambda images: servable.from_pixels(images)["embedding"],
        reduce_retracing=True,
        autograph=False,
    )
    found = embed_examples(
        forward, examples, servable.geometry, batch_size, "threshold"
    )
    labels, _ = class_ids(examples)
    return calibrate(found, labels, false_accept_rate)


def embed_examples(
    forward: Callable[[Any], Any],
    examples: Sequence[Example],
    geometry: Geometry,
    batch_size: int,
    progress: str,
) -> np.ndarray:
    """Embed the images of examples.

    Args:
        forward: Function from images `(b, h, w, 3)` to embeddings `(b, d)`.
        examples: n examples.
        geometry: Geometry of the embedder.
        batch_size: Images at once.
        progress: Title of the progress bar.

    Returns:
        Embeddings `(n, d)`.

    Raises:
        DataError: An image cannot be read.
    """
    refuse_bad(e.path for e in examples)
    return embed(
        forward,
        examples,
        resize_size=geometry.resize_size,
        fit=geometry.fit,
        batch_size=batch_size,
        progress=progress,
    )


def calibrate(
    embeddings: np.ndarray, labels: ArrayLike, false_accept_rate: float
) -> dict[str, Any]:
    """Find the cosine from which an image's nearest neighbour is believed.

    Every image plays an unknown once: its own class is left out of the gallery, and the
    best remaining cosine is the one that an unknown would reach. The threshold lets the
    given share of them pass. The cosines to the image's own class then tell how many
    known images pass. An answer is accepted if its cosine is at least the threshold.

    Args:
        embeddings: `(n, d)`, of length one, of classes not trained on.
        labels: `(n,)` classes.
        false_accept_rate: Largest share of unknowns to accept.

    Returns:
        `cosine`, the threshold; `false_accept_rate` as asked for and
        `measured_false_accept_rate`; `true_accept_rate`, over the images that are not
        alone in their class (None if all are); `images` and `classes`.

    Raises:
        DataError: There are fewer than two classes, and so nothing unknown.
    """
    check_rate(false_accept_rate)
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"the number of classes in labels is {len(classes)}: give images of two at "
            "least."
        )
    to_others, to_own = best_cosines(embeddings, codes)
    ranked = np.sort(to_others)[::-1]
    accepted = math.floor(false_accept_rate * len(ranked))
    # The next float above the first cosine to refuse, so that ties are refused too.
    threshold = float(np.nextafter(ranked[accepted], np.float32(np.inf)))
    known = to_own[np.isfinite(to_own)]
    return {
        "cosine": threshold,
        "false_accept_rate": false_accept_rate,
        "measured_false_accept_rate": float((to_others >= threshold).mean()),
        "true_accept_rate": float((known >= threshold).mean()) if len(known) else None,
        "images": len(codes),
        "classes": len(classes),
        "depends_on": (
            "the size of the gallery: the more images are searched, the higher an "
            "unknown's best cosine; calibrate anew for one much larger than "
            f"{len(codes)} images"
        ),
    }


def best_cosines(
    embeddings: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find each image's best cosine to other classes and to its own, itself left out.

    Args:
        embeddings: `(n, d)` of length one.
        codes: `(n,)` class numbers.

    Returns:
        Two arrays `(n,)` float32; minus infinity where there is no such image.
    """
    others = np.empty(len(codes), np.float32)
    own = np.empty(len(codes), np.float32)
    for start in range(0, len(codes), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(codes)))
        cosines = (embeddings[rows] @ embeddings.T).astype(np.float32)
        same = codes[rows][:, None] == codes
        others[rows] = np.where(same, -np.inf, cosines).max(axis=1)
        same[np.arange(len(rows)), rows] = False
        own[rows] = np.where(same, cosines, -np.inf).max(axis=1)
    return others, own
