"""The cost of rounding to 8 bits: the same images through both files of LiteRT."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.models.embedder import Geometry
from deml_tf.retrieval.metrics import evaluate
from deml_tf.serving import threshold
from deml_tf.serving.fresh_process import litert
from deml_tf.serving.square_servable import SIGNATURE

MOST_IMAGES = 1000
"""Most images that are embedded, twice; in whole classes, at least two of them."""

_BATCH_SIZE = 8
SCORES = {"recall_at_1": "Recall@1", "map_at_r": "MAP@R"}


def measure(
    files: tuple[Path, Path],
    squares: np.ndarray,
    examples: Sequence[Example],
    geometry: Geometry,
    false_accept_rate: float,
) -> dict[str, Any]:
    """Compare the files, in their runtime, by cosine and by their scores.

    An image's rounding does not depend on its neighbours in a batch.

    Args:
        files: The file in float32, and that with weights of 8 bits.
        squares: `(n, s, s, 3)` of a few images, for the cosine.
        examples: Examples of classes not trained on; without any, nothing is scored.
        geometry: Geometry of the embedder.
        false_accept_rate: For the rounded file's own threshold.

    Returns:
        `smallest_cosine` between the two embeddings of an image; if examples are
        scored, also `images` and `classes`, `recall_at_1` and `map_at_r`, each a dict
        of `float32` and `int8`, and the `threshold` of `deml_tf.serving.threshold`.

    Raises:
        DataError: An image cannot be read.
    """
    embedders = [_embedder(path) for path in files]
    few = [embedder(squares) for embedder in embedders]
    if not examples:
        return {"smallest_cosine": smallest_cosine(*few)}
    kept = whole_classes(examples, MOST_IMAGES)
    labels, names = class_ids(kept)
    found = [
        threshold.embed_examples(
            lambda images, e=embedder: tf.constant(e(images.numpy())),
            kept,
            geometry,
            _BATCH_SIZE,
            "8 bits",
        )
        for embedder in embedders
    ]
    exact, rounded = (evaluate(vectors, labels, (1,)) for vectors in found)
    return {
        "smallest_cosine": min(smallest_cosine(*few), smallest_cosine(*found)),
        "images": len(kept),
        "classes": len(names),
        **{name: {"float32": exact[name], "int8": rounded[name]} for name in SCORES},
        "threshold": threshold.calibrate(found[1], labels, false_accept_rate),
    }


def as_sentence(measured: dict[str, Any]) -> str:
    """Put the result of `measure` into words.

    Args:
        measured: What `measure` returned.
    """
    cosine = f"smallest cosine to float32 {measured['smallest_cosine']:.4f}"
    if "images" not in measured:
        return f"8 bits: {cosine}; no validation classes at hand to score."
    scores = ", ".join(
        f"{title} {measured[name]['float32']:.4f} -> {measured[name]['int8']:.4f} "
        f"({measured[name]['int8'] - measured[name]['float32']:+.4f})"
        for name, title in SCORES.items()
    )
    return (
        f"8 bits: {scores} on {measured['images']} images of "
        f"{measured['classes']} validation classes; {cosine}."
    )


def whole_classes(examples: Sequence[Example], most: int) -> list[Example]:
    """Choose some classes with all their images, as a score needs them.

    Args:
        examples: Examples of all classes.
        most: Most images wanted; two classes are kept even if they have more.

    Returns:
        Examples in their order, of classes drawn by their names.
    """
    counts: dict[str, int] = {}
    for example in examples:
        counts[example.label] = counts.get(example.label, 0) + 1
    coded = {name: name.encode(errors="surrogateescape") for name in counts}
    drawn = sorted(counts, key=lambda name: hashlib.sha256(coded[name]).digest())
    totals = np.cumsum([counts[name] for name in drawn])
    fitting = int(np.searchsorted(totals, most, side="right"))
    kept = set(drawn[: max(2, fitting)])
    return [example for example in examples if example.label in kept]


def smallest_cosine(exact: np.ndarray, rounded: np.ndarray) -> float:
    """Return the smallest cosine between an image's two embeddings.

    Args:
        exact: `(n, d)` of length one.
        rounded: `(n, d)` of length one, of the same images.
    """
    return float((exact * rounded).sum(axis=1).min())


def _embedder(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Load a function from squares (n, s, s, 3) to embeddings (n, d)."""
    run = litert(path)
    return lambda squares: run(SIGNATURE, squares)["embedding"]
