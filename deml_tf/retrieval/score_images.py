"""From an embedder and images, in any layout, to its scores."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from deml_tf.config import ScoreConfig
from deml_tf.data.example import Example
from deml_tf.data.images import read_example
from deml_tf.data.layouts import Layout
from deml_tf.models.embedder import explainer, geometry_of
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.metrics import per_class
from deml_tf.retrieval.scoring import attention_of, score


class Images:
    """The images to score, in their layout.

    Args:
        queries: The images to search for, and to search if there is no gallery.
        gallery: The images to search, if they are others; else empty.
        layout: One of `LAYOUTS`.
        seed: Seed of the layout and of the clustering.

    Attributes:
        queries: The queries, with the boxes of their layout.
        gallery: The gallery.
        layouts: Of both, for `embed`; None where the images are taken as they are.
    """

    def __init__(
        self,
        queries: Sequence[Example],
        gallery: Sequence[Example],
        layout: str,
        seed: int,
    ):
        self.layout, self.seed = layout, seed
        self.queries, self.gallery = queries, gallery
        self.layouts: tuple[Layout | None, Layout | None] = (None, None)
        if layout != "as_is":
            laid = Layout(layout, queries, read_example, seed)
            beside = Layout(layout, gallery, read_example, seed) if gallery else None
            self.queries, self.layouts = laid.examples, (laid, beside)


class Embedded(NamedTuple):
    """What an explainer returns for queries, and for the gallery if there is one."""

    queries: Mapping[str, np.ndarray]
    gallery: Mapping[str, np.ndarray] | None


def embed_images(
    embedder: keras.Model, images: Images, scoring: ScoreConfig
) -> Embedded:
    """Embed images with all of an embedder's outputs.

    Args:
        embedder: What `build_deml` built.
        images: The images.
        scoring: Says the batch size.
    """
    how = embedding_of(embedder, scoring)
    forward = inference(explainer(embedder))()
    own, beside = images.layouts
    queries = embed(forward, images.queries, progress="embedding", layout=own, **how)
    gallery = None
    if images.gallery:
        given = images.gallery
        gallery = embed(forward, given, progress="gallery", layout=beside, **how)
    return Embedded(queries, gallery)


def score_images(
    images: Images, embedded: Embedded, scoring: ScoreConfig
) -> dict[str, Any]:
    """Score an embedder on images.

    Args:
        images: The images.
        embedded: What `embed_images` returns for them.
        scoring: Says the ranks of Recall@K.

    Returns:
        What `score` returns, and `classes`, one record for each class. For images
        without an object, the layout `empty`, `object_attention` alone.
    """
    queries, gallery = images.queries, images.gallery
    if images.layout == "empty":
        return {"object_attention": attention_of(embedded.queries, queries)}
    scores = score(
        embedded.queries,
        queries,
        ranks=scoring.ranks,
        seed=images.seed,
        gallery_outputs=embedded.gallery,
        gallery=gallery,
    )
    searched = embedded.gallery
    classes = per_class(
        embedded.queries["embedding"],
        np.array([example.label for example in queries]),
        gallery_embeddings=None if searched is None else searched["embedding"],
        gallery_labels=np.array([e.label for e in gallery]) if gallery else None,
    )
    return {**scores, "classes": classes}


def embedding_of(model: keras.Model, scoring: ScoreConfig) -> dict[str, Any]:
    """Return how images are embedded for scoring, as keyword arguments of `embed`.

    Args:
        model: An embedder or a frozen start.
        scoring: Says the batch size.
    """
    geometry = geometry_of(model)
    return {
        "resize_size": geometry.resize_size,
        "fit": geometry.fit,
        "batch_size": scoring.scoring_batch_size,
    }
