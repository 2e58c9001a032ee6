"""What rounding to 8 bits costs: the same images through both files of LiteRT."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.data.images import explain_unreadable
from deml_tf.models.embedder import Geometry
from deml_tf.retrieval.embedding import embed
from deml_tf.retrieval.metrics import evaluate
from deml_tf.serving import threshold
from deml_tf.serving.fresh_runtime import litert

MOST_IMAGES = 1000
"""Images embedded at most, twice; in whole classes, and two of these at least."""

SCORES = {"recall_at_1": "Recall@1", "map_at_r": "MAP@R"}


def measure(
    exact_file: Path,
    rounded_file: Path,
    squares: np.ndarray,
    examples: Sequence[Example],
    geometry: Geometry,
    false_accept_rate: float,
) -> dict[str, Any]:
    """Compares the files, in their runtime, by cosine and by what is found.

    How an image is rounded on the way does not depend on its neighbours in a batch.

    Args:
        exact_file: In float32.
        rounded_file: With weights of 8 bits.
        squares: (n, s, s, 3) of a few images, for the cosine.
        examples: Of classes not trained on; without any, nothing is scored.
        geometry: Of the embedder.
        false_accept_rate: For the rounded file's own threshold.

    Returns:
        `smallest_cosine` between the two embeddings of an image; of scored examples
        also `images`, `classes`, `recall_at_1` and `map_at_r`, each a dict of
        `float32` and `int8`, and the `threshold` of `deml_tf.serving.threshold`.

    Raises:
        DataError: An image cannot be read.
    """
    files = [litert(path) for path in (exact_file, rounded_file)]
    few = [run(squares)["embedding"] for run in files]
    if not examples:
        return {"smallest_cosine": smallest_cosine(*few)}
    kept = whole_classes(examples, MOST_IMAGES)
    labels, names = class_ids(kept)
    found = [_embed(run, kept, geometry) for run in files]
    exact, rounded = (evaluate(vectors, labels, (1,)) for vectors in found)
    return {
        "smallest_cosine": min(smallest_cosine(*few), smallest_cosine(*found)),
        "images": len(kept),
        "classes": len(names),
        **{name: {"float32": exact[name], "int8": rounded[name]} for name in SCORES},
        "threshold": threshold.calibrate(found[1], labels, false_accept_rate),
    }


def as_sentence(measured: dict[str, Any]) -> str:
    """What `measure` found, for a reader."""
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
    """Some classes with all their images, as a score needs them.

    Args:
        examples: Of all classes.
        most: Images wanted at most; two classes are kept even if they have more.

    Returns:
        Examples in their order, of classes drawn by their names.
    """
    counts: dict[str, int] = {}
    for example in examples:
        counts[example.label] = counts.get(example.label, 0) + 1
    drawn = sorted(counts, key=lambda name: hashlib.sha256(name.encode()).digest())
    totals = np.cumsum([counts[name] for name in drawn])
    fitting = int(np.searchsorted(totals, most, side="right"))
    kept = set(drawn[: max(2, fitting)])
    return [example for example in examples if example.label in kept]


def smallest_cosine(exact: np.ndarray, rounded: np.ndarray) -> float:
    """Between an image's two embeddings, each (n, d) of length one."""
    return float((exact * rounded).sum(axis=1).min())


def _embed(run, examples, geometry):
    try:
        return embed(
            lambda images: tf.constant(run(images.numpy())["embedding"]),
            examples,
            resize_size=geometry.resize_size,
            fit=geometry.fit,
            batch_size=8,
            progress="8 bits",
        )
    except tf.errors.OpError as error:
        raise explain_unreadable((e.path for e in examples), error) from error
