"""When to say "unknown": a threshold on the best cosine, from held-out classes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.data.images import explain_unreadable
from deml_tf.errors import UsageError
from deml_tf.retrieval.embedding import embed
from deml_tf.serving.servable import Servable

_BLOCK = 1024  # queries compared at one time


def check_rate(false_accept_rate: float) -> None:
    """Refuses a rate that is none.

    Raises:
        UsageError: Not between 0 and 1.
    """
    if not 0 < false_accept_rate < 1:
        raise UsageError(
            f"--false_accept_rate={false_accept_rate}: give a share above 0 and below "
            "1, such as 0.01."
        )


def from_classes(
    servable: Servable,
    examples: Sequence[Example],
    false_accept_rate: float,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Embeds images of classes not trained on, and calibrates on them.

    Args:
        servable: As it will be served.
        examples: Of the classes.
        false_accept_rate: See `calibrate`.
        batch_size: Images embedded at once.

    Returns:
        What `calibrate` gives.

    Raises:
        DataError: An image cannot be read.
    """
    geometry = servable.geometry
    try:
        found = embed(
            tf.function(servable.from_pixels, reduce_retracing=True, autograph=False),
            examples,
            resize_size=geometry.resize_size,
            fit=geometry.fit,
            batch_size=batch_size,
            progress="threshold",
        )
    except tf.errors.OpError as error:
        raise explain_unreadable((e.path for e in examples), error) from error
    labels, _ = class_ids(examples)
    return calibrate(found["embedding"], labels, false_accept_rate)


def calibrate(
    embeddings: np.ndarray, labels: ArrayLike, false_accept_rate: float
) -> dict[str, Any]:
    """Finds the cosine below which an image's nearest neighbour says nothing.

    Every image plays an unknown once: its own class is left out of the gallery, and
    the best cosine that remains is what an unknown would reach. The threshold is what
    the given share of them reaches. Its own class alone then says how many known
    images it accepts. An answer is accepted if its cosine is at least the threshold.

    Args:
        embeddings: (n, d), of length one, of classes not trained on.
        labels: (n,) classes.
        false_accept_rate: Share of unknowns to be accepted, at most.

    Returns:
        `cosine`, the threshold; `false_accept_rate` as asked for and
        `measured_false_accept_rate`; `true_accept_rate`, over the images that are
        not alone in their class (None without any); `images` and `classes`.
    """
    check_rate(false_accept_rate)
    _, codes = np.unique(np.asarray(labels), return_inverse=True)
    to_others, to_own = best_cosines(embeddings, codes)
    ranked = np.sort(to_others)[::-1]
    accepted = math.floor(false_accept_rate * len(ranked))
    # The next float above the first one to be refused, so that ties are refused too.
    threshold = float(np.nextafter(ranked[accepted], np.float32(np.inf)))
    known = to_own[np.isfinite(to_own)]
    return {
        "cosine": threshold,
        "false_accept_rate": false_accept_rate,
        "measured_false_accept_rate": float((to_others >= threshold).mean()),
        "true_accept_rate": float((known >= threshold).mean()) if len(known) else None,
        "images": len(codes),
        "classes": int(codes.max()) + 1,
        "depends_on": (
            "the size of the gallery: the more images are searched, the higher an "
            "unknown's best cosine; calibrate anew for one much larger than "
            f"{len(codes)} images"
        ),
    }


def best_cosines(
    embeddings: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each image's best cosine to other classes and to its own, itself left out.

    Args:
        embeddings: (n, d) of length one.
        codes: (n,) class numbers.

    Returns:
        Two arrays (n,) float32; minus infinity where there is no such image.
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
