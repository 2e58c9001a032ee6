"""Vectors stored one after the other, and searched exactly."""

from typing import Any

import faiss
import numpy as np

from deml_tf.bulk.index_kind import IndexKind, room_for
from deml_tf.retrieval.inputs import unit_rows

_FLOAT, _ID = 4, 8  # bytes
_QUERIES = 1024  # searched at a time: FAISS holds a list of candidates for each
_PAIRS = 2**13  # of query and vector, in float64 at a time: 32 MB at d = 512


class Flat(IndexKind):
    """Compare a query with every vector (FAISS's `IndexFlatIP`).

    The result is that of a loop in float64 over the stored vectors: FAISS finds
    candidates in float32, their cosines are computed again in float64, and the search
    widens until no vector left out can be nearer. So the answer to a query depends
    neither on the other queries of the call nor on the number of threads.
    """

    def settings(self) -> dict[str, int | None]:
        """Return no arguments: there is nothing to set."""
        return {}

    def held_bytes(self, dim: int, count: int) -> int:
        """Predict the memory: the vectors and their ids."""
        return count * (_FLOAT * dim + 2 * _ID)

    def create(self, dim: int, count: int) -> Any:
        """Make an empty index that stores an id with each vector."""
        index = faiss.IndexIDMap(faiss.IndexFlatIP(dim))
        self.reserve(index, count)
        return index

    def reserve(self, index: Any, count: int) -> None:
        """Make room for n vectors in all."""
        stored: Any = faiss.downcast_index(index.index)
        room_for(stored.codes, count * _FLOAT * index.d)

    def nearest(
        self,
        index: Any,
        ids: np.ndarray,
        queries: np.ndarray,
        k: int,
        among: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows, exactly."""
        stored = faiss.downcast_index(index.index)  # whose ids are positions
        if among is not None:
            return exact_among(stored, queries, k, among)
        parts = [
            exact_nearest(stored, queries[start : start + _QUERIES], k)
            for start in range(0, len(queries), _QUERIES)
        ]
        cosines, rows = zip(*parts, strict=True)
        return np.concatenate(cosines), np.concatenate(rows)


def exact_nearest(
    stored: Any, queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest vectors of a flat index, exactly.

    Args:
        stored: A FAISS `IndexFlat` by inner product, of n vectors of length 1.
        queries: (q, d) floats, of any length but 0.
        k: Neighbours of each query, 1 to n.

    Returns:
        Cosines (q, k) float32, descending, and positions (q, k) int64; equal cosines
        are ordered by position. Cosines are compared in float64 and then rounded.
    """
    units = unit_rows(queries)  # (q, d) float64
    coarse_units = units.astype(np.float32)
    # Rounding a unit row and summing d products in float32, in any order, moves a
    # cosine by less than (d + 8) 2^-24.
    bound = (stored.d + 8) * 2.0**-24
    cosines = np.empty((len(units), k), np.float32)
    rows = np.empty((len(units), k), np.int64)
    asked, width = np.arange(len(units)), min(k + 16 + k // 16, stored.ntotal)
    while asked.size:
        coarse, found = stored.search(coarse_units[asked], width)  # (a, width)
        exact = _cosines(stored, units[asked], found)
        order = np.lexsort((found, -exact))[:, :k]
        exact = np.take_along_axis(exact, order, 1)
        cosines[asked] = exact
        rows[asked] = np.take_along_axis(found, order, 1)
        if width == stored.ntotal:
            break
        asked = asked[exact[:, -1] <= coarse[:, -1] + bound]
        width = min(4 * width, stored.ntotal)
    return cosines, rows


def exact_among(
    stored: Any, queries: np.ndarray, k: int, among: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of some vectors of a flat index, exactly.

    Args:
        stored: As for `exact_nearest`.
        queries: (q, d) floats, of any length but 0.
        k: Neighbours of each query, 1 to m.
        among: (m,) int64, ascending: the positions of these vectors.

    Returns:
        As for `exact_nearest`.
    """
    units = unit_rows(queries)[:, None]  # (q, 1, d) float64
    exact = np.concatenate([_cosines(stored, one, among[None]) for one in units])
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    cosines = np.take_along_axis(exact, order, 1).astype(np.float32)
    return cosines, among[order]


def _cosines(stored: Any, units: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the inner products (a, width) of queries and found vectors in float64."""
    width = found.shape[1]
    places, exact = found.ravel(), np.empty(found.size)
    for start in range(0, found.size, _PAIRS):
        pairs = np.arange(start, min(start + _PAIRS, found.size))
        vectors = stored.reconstruct_batch(places[pairs]).astype(np.float64)
        exact[pairs] = np.einsum("nd,nd->n", vectors, units[pairs // width])
    return exact.reshape(found.shape)
