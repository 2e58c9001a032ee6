"""What every kind of index can do."""

from typing import Any, ClassVar

import numpy as np

from deml_tf.retrieval.inputs import unit_rows_float32


class IndexKind:
    """A kind of FAISS index, with its parameters.

    A row is a position in rows.parquet, from 0; an image keeps its id when rows before
    it are removed.

    Attributes:
        removes: Whether rows can be removed.
    """

    removes: ClassVar[bool] = True

    def settings(self) -> dict[str, int | None]:
        """Return the constructor's arguments, as index.json keeps them."""
        raise NotImplementedError

    def held_bytes(self, dim: int, count: int) -> int:
        """Predict the memory of an index.

        Args:
            dim: Length of a vector, d.
            count: Number of vectors, n.
        """
        raise NotImplementedError

    def check(self, dim: int, count: int) -> None:
        """Refuse, before long work, vectors that the index cannot be built from.

        Args:
            dim: Length of a vector, d.
            count: Number of vectors, n.

        Raises:
            UsageError: It cannot.
        """

    def training_size(self, count: int) -> int:
        """Return how many of n vectors must be trained on before any is added."""
        return 0

    def training_bytes(self, dim: int, count: int) -> int:
        """Predict the memory that training takes besides that of the index."""
        return 0

    def build_bytes(self, dim: int, count: int) -> int:
        """Predict the memory that building takes."""
        return self.held_bytes(dim, count) + self.training_bytes(dim, count)

    def create(self, dim: int, count: int) -> Any:
        """Make an empty FAISS index.

        Args:
            dim: Length of a vector, d.
            count: Number of vectors to make room for.
        """
        raise NotImplementedError

    def reserve(self, index: Any, count: int) -> None:
        """Make room for n vectors in all, or memory would double while it grows."""

    def add(self, index: Any, vectors: np.ndarray, ids: np.ndarray) -> None:
        """Add vectors.

        Args:
            index: The FAISS index.
            vectors: (b, d) float32, of length 1.
            ids: (b,) int64, greater than all earlier ids.
        """
        index.add_with_ids(vectors, ids)

    def nearest(
        self,
        index: Any,
        ids: np.ndarray,
        queries: np.ndarray,
        k: int,
        among: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows.

        Args:
            index: The FAISS index, of n vectors.
            ids: (n,) the id of each row, ascending.
            queries: (q, d) floats, of any length but 0.
            k: Neighbours of each query, 1 to n, or 1 to m with `among`.
            among: (m,) int64, ascending: the only rows that are searched; None searches
                all.

        Returns:
            Cosines (q, k) float32, descending, and rows (q, k) int64; equal cosines are
            ordered by row.
        """
        raise NotImplementedError


def filled_up(
    cosines: np.ndarray, rows: np.ndarray, search_all: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Search everything for the queries that got fewer than k rows, and sort.

    Args:
        cosines: (q, k) float32, as FAISS gives them.
        rows: (q, k) int64; -1 where nothing was found.
        search_all: Called with a mask (q,) of these queries; returns both for them.

    Returns:
        Cosines (q, k), descending, and rows (q, k); equal cosines by row.
    """
    short = (rows < 0).any(axis=1)
    if short.any():
        cosines[short], rows[short] = search_all(short)
    order = np.lexsort((rows, -cosines))
    return np.take_along_axis(cosines, order, 1), np.take_along_axis(rows, order, 1)


def unit(queries: np.ndarray) -> np.ndarray:
    """Return queries as FAISS takes them: float32, of length 1, contiguous."""
    return np.ascontiguousarray(unit_rows_float32(queries))


def room_for(vector: Any, size: int) -> None:
    """Reserve memory in a FAISS vector, which keeps its contents.

    Args:
        vector: A `MaybeOwnedVector` that owns its memory.
        size: Number of elements.
    """
    filled = vector.size()
    if size > filled:
        vector.resize(size)
        vector.resize(filled)
