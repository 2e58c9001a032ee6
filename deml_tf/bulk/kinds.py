"""The kinds of index, and which one suits how many vectors."""

from deml_tf.bulk.flat import Flat
from deml_tf.bulk.hnsw import Hnsw
from deml_tf.bulk.index_kind import IndexKind
from deml_tf.bulk.ivfpq import IvfPq

KINDS: dict[str, type[IndexKind]] = {"flat": Flat, "hnsw": Hnsw, "ivfpq": IvfPq}
MOST_FLAT, MOST_HNSW = 200_000, 2_000_000
"""Vectors up to which an index is flat, and up to which it is hnsw, by default."""

RULE = (
    f"by default flat up to {MOST_FLAT:,} embeddings (exact, and still fast), hnsw up "
    f"to {MOST_HNSW:,} (near exact, for more memory and a long build), and ivfpq above "
    "(a tenth of the memory or less, and fewer of the true neighbours)"
)


def kind_for(count: int) -> str:
    """Choose a kind of index.

    Args:
        count: Number of vectors.

    Returns:
        A key of `KINDS`.
    """
    if count <= MOST_FLAT:
        return "flat"
    return "hnsw" if count <= MOST_HNSW else "ivfpq"
