"""From embeddings and labels to the numbers of a results table."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deml_tf.errors import DataError, UsageError
from deml_tf.retrieval.clustering import nmi_of_kmeans
from deml_tf.retrieval.inputs import (
    QueriesAndGallery,
    check_inputs,
    check_ranks,
    unit_rows_float32,
)
from deml_tf.retrieval.neighbours import Ranker
from deml_tf.retrieval.relevance import (
    average_precision_at_r,
    first_hits,
    r_precision,
)

_NOTHING_TO_FIND = (
    "labels: no query has another image of its class to find; at least one class needs "
    "two."
)


@dataclass(frozen=True, slots=True)
class QueryScores:
    """The scores of every query whose class has another image to find.

    Attributes:
        queries: (q,) indices of the queries scored, ascending.
        labels: (q,) their labels.
        first_hit: (q,) rank of the first neighbour of the query's class, inf where
            it lies beyond both `depth` and the query's R.
        r_precision: (q,) share of the class among the first R neighbours.
        average_precision: (q,) average precision over the first R neighbours.
        depth: the greatest K for which Recall@K can be read off `first_hit`.
        left_out: how many queries have no other image of their class to find.
    """

    queries: np.ndarray
    labels: np.ndarray
    first_hit: np.ndarray
    r_precision: np.ndarray
    average_precision: np.ndarray
    depth: int
    left_out: int

    def summary(self, ranks: Sequence[int]) -> dict[str, float]:
        """Return the means over the queries and their number, as `evaluate` does.

        Args:
            ranks: the K of Recall@K, at most `depth`.

        Returns:
            `recall_at_K` for each K, `r_precision`, `map_at_r`, `queries` and
            `queries_left_out`.

        Raises:
            UsageError: a rank below 1 or above `depth`.
        """
        ranks = check_ranks(ranks)
        if max(ranks) > self.depth:
            raise UsageError(
                f"Recall@{max(ranks)} cannot be read off a ranking of depth "
                f"{self.depth}; rank with depth={max(ranks)}."
            )
        scores: dict[str, float] = {
            # An integer beyond all floats is no rank that NumPy can compare.
            f"recall_at_{k}": float(np.mean(self.first_hit <= min(k, sys.maxsize)))
            for k in ranks
        }
        scores["r_precision"] = float(self.r_precision.mean())
        scores["map_at_r"] = float(self.average_precision.mean())
        scores["queries"] = len(self.queries)
        scores["queries_left_out"] = self.left_out
        return scores

    def by_class(self) -> list[dict[str, Any]]:
        """Return the means by class, in the order of the sorted labels.

        Returns:
            What `per_class` returns.
        """
        labels, codes, queries = np.unique(
            self.labels, return_inverse=True, return_counts=True
        )
        columns = {
            "recall_at_1": self.first_hit <= 1,
            "r_precision": self.r_precision,
            "map_at_r": self.average_precision,
        }
        rows = [
            {"label": label, "queries": count}
            for label, count in zip(labels.tolist(), queries.tolist(), strict=True)
        ]
        for name, column in columns.items():
            means = np.bincount(codes, column) / queries
            for row, mean in zip(rows, means.tolist(), strict=True):
                row[name] = mean
        return rows


def score_queries(
    embeddings: ArrayLike,
    labels: ArrayLike,
    depth: int = 8,
    *,
    gallery_embeddings: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
    block_size: int = 4096,
) -> QueryScores:
    """Rank all images for every query once, for a summary and a table by class.

    Besides the embeddings this holds one float32 copy of the gallery and one block of
    neighbours in memory.

    Args:
        embeddings: (n, d), as in `evaluate`.
        labels: (n,), as in `evaluate`.
        depth: the greatest K of Recall@K that will be asked for; default 8.
        gallery_embeddings: (m, d), as in `evaluate`.
        gallery_labels: (m,), as in `evaluate`.
        block_size: queries ranked at a time, at most; default 4096.

    Returns:
        The scores by query, from which `summary` and `by_class` are means.

    Raises:
        UsageError: as in `evaluate`.
        DataError: as in `evaluate`.
    """
    (depth,) = check_ranks([depth])
    inputs = check_inputs(embeddings, labels, gallery_embeddings, gallery_labels)
    return _score(inputs, depth, block_size)


def evaluate(
    embeddings: ArrayLike,
    labels: ArrayLike,
    ranks: Sequence[int] = (1, 2, 4, 8),
    *,
    gallery_embeddings: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
    nmi: bool = False,
    seed: int = 0,
    block_size: int = 4096,
) -> dict[str, float]:
    """Compute Recall@K, R-precision, MAP@R and NMI of an exact ranking by cosine.

    Every image is a query against all others (the protocol of the paper's section
    on experiments), left out of its own ranking by its index. An image of the
    query's class is ranked before one of another class only if its cosine is greater
    by more than `neighbours.TIE`. Queries whose class has no other image are counted,
    and left out of every mean; NMI includes them.

    Args:
        embeddings: (n, d) real numbers of any type; rows need not be normalised.
        labels: (n,) integers or strings.
        ranks: the K of Recall@K, by default 1, 2, 4 and 8. A K above the number of
            images to search means all of them, so that its recall is 1.
        gallery_embeddings: (m, d) what to search, if that is another set (In-Shop
            Clothes); no image is then left out by its index.
        gallery_labels: (m,) the gallery's labels.
        nmi: whether to compute NMI too, which clusters the images of queries and
            gallery together; default False.
        seed: seed of the clustering; default 0.
        block_size: queries ranked at a time, at most; default 4096. No result depends
            on it.

    Returns:
        `recall_at_K` for each K, `r_precision`, `map_at_r` and, if asked for, `nmi`,
        from 0 to 1; the counts `queries` and `queries_left_out`.

    Raises:
        UsageError: arrays are not of this form or do not fit together, or a rank is
            below 1.
        DataError: a row holds NaN or inf, or only zeros; or no class has anything to
            find.
    """
    ranks = check_ranks(ranks)
    inputs = check_inputs(embeddings, labels, gallery_embeddings, gallery_labels)
    scores = _score(inputs, max(ranks), block_size).summary(ranks)
    if nmi:
        units, codes = unit_rows_float32(inputs.queries), inputs.query_codes
        if not inputs.leaves_itself_out:
            units = np.concatenate([units, unit_rows_float32(inputs.gallery)])
            codes = np.concatenate([codes, inputs.gallery_codes])
        scores["nmi"] = nmi_of_kmeans(units, codes, seed)
    return scores


def check_labels(labels: ArrayLike, images: int, ranks: Sequence[int]) -> None:
    """Refuse the labels and ranks that `evaluate` would, before there are embeddings.

    Args:
        labels: (n,), as in `evaluate`.
        images: n.
        ranks: As in `evaluate`.

    Raises:
        UsageError: They are not of this form.
        DataError: No class has two images.
    """
    check_ranks(ranks)
    codes = check_inputs(np.ones((images, 1)), labels).query_codes
    if np.bincount(codes).max(initial=0) < 2:
        raise DataError(_NOTHING_TO_FIND)


def per_class(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    gallery_embeddings: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
    block_size: int = 4096,
) -> list[dict[str, Any]]:
    """Compute Recall@1, R-precision and MAP@R of each class.

    Args:
        embeddings: (n, d), as in `evaluate`.
        labels: (n,), as in `evaluate`.
        gallery_embeddings: (m, d), as in `evaluate`.
        gallery_labels: (m,), as in `evaluate`.
        block_size: queries ranked at a time, at most; default 4096.

    Returns:
        A dict of `label`, `queries`, `recall_at_1`, `r_precision` and `map_at_r` for
        each class with a scored query, in the order of the sorted labels. The means
        of its columns, weighted by `queries`, are the figures of `evaluate`.

    Raises:
        UsageError: as in `evaluate`.
        DataError: as in `evaluate`.
    """
    return score_queries(
        embeddings,
        labels,
        1,
        gallery_embeddings=gallery_embeddings,
        gallery_labels=gallery_labels,
        block_size=block_size,
    ).by_class()


def _score(inputs: QueriesAndGallery, depth: int, block_size: int) -> QueryScores:
    ranker = Ranker(inputs, block_size)
    rows = np.flatnonzero(ranker.relevant_counts)
    if not rows.size:
        raise DataError(_NOTHING_TO_FIND)
    counts = ranker.relevant_counts[rows]
    hits, precision, average = np.empty((3, len(rows)))
    deepest = min(depth, ranker.available)
    depths = np.minimum(np.maximum(deepest, counts), ranker.available)
    for block, indices, _ in ranker.blocks(rows, depths):
        wanted = inputs.query_codes[rows[block], None]
        relevant = inputs.gallery_codes[indices] == wanted  # (b, k)
        hits[block] = first_hits(relevant)
        precision[block] = r_precision(relevant, counts[block])
        average[block] = average_precision_at_r(relevant, counts[block])
    return QueryScores(
        queries=rows,
        labels=inputs.classes[inputs.query_codes[rows]],
        first_hit=hits,
        r_precision=precision,
        average_precision=average,
        depth=depth,
        left_out=len(inputs.queries) - len(rows),
    )
