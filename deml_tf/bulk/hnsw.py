"""A graph in which each vector is linked with near ones."""

from typing import Any

import faiss
import numpy as np

from deml_tf.bulk.flat import exact_among, exact_nearest
from deml_tf.bulk.index_kind import IndexKind, filled_up, room_for, unit
from deml_tf.errors import UsageError

_FLOAT, _LINK, _PLACE = 4, 4, 8  # bytes

_faiss: Any = faiss  # its type hints lack the parameters of a search


class Hnsw(IndexKind):
    """Walk from vector to nearer vector (Malkov & Yashunin, arXiv 1603.09320).

    FAISS's `IndexHNSWFlat`. It holds the vectors and about `8 m` bytes for each. Rows
    can be added but not removed: the graph would fall apart.

    Args:
        m: Number of links of a vector on each layer of the graph, at least 2, and twice
            as many on the lowest; FAISS advises 4 to 64.
        ef_construction: Number of candidates from which the links of a new vector are
            chosen, at least 1; with more, building takes longer and searches find more
            of the true neighbours.
        ef_search: Number of candidates that a search keeps, at least 1 and never fewer
            than it returns; with more, it takes longer and finds more of the true
            neighbours.
    """

    removes = False

    def __init__(self, m: int = 32, ef_construction: int = 200, ef_search: int = 256):
        for name, value, least in (
            ("m", m, 2),
            ("ef_construction", ef_construction, 1),
            ("ef_search", ef_search, 1),
        ):
            if not least <= value < 2**15:
                raise UsageError(f"{name}={value}: it must be {least} to {2**15 - 1}.")
        self.m, self.ef_construction = m, ef_construction
        self.ef_search = ef_search

    def settings(self) -> dict[str, int | None]:
        """Return the constructor's arguments."""
        return {
            "m": self.m,
            "ef_construction": self.ef_construction,
            "ef_search": self.ef_search,
        }

    def held_bytes(self, dim: int, count: int) -> int:
        """Predict the memory: vectors, links, and a mark for each while building."""
        links = 2 * self.m + self.m / (self.m - 1) + 1
        return int(count * (_FLOAT * dim + _LINK * (links + 1) + 2 * _PLACE + 1))

    def create(self, dim: int, count: int) -> Any:
        """Make an empty graph."""
        index = faiss.IndexHNSWFlat(dim, self.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        index.hnsw.efSearch = self.ef_search
        self.reserve(index, count)
        return index

    def reserve(self, index: Any, count: int) -> None:
        """Make room for n vectors in all."""
        room_for(_faiss.downcast_index(index.storage).codes, count * _FLOAT * index.d)
        # The share of vectors on higher layers is drawn at random.
        links = count * (2 * self.m + self.m / (self.m - 1) + 1)
        room_for(index.hnsw.neighbors, int(links))

    def add(self, index: Any, vectors: np.ndarray, ids: np.ndarray) -> None:
        """Add vectors; their ids are their positions, as none is ever removed."""
        index.add(vectors)

    def nearest(
        self,
        index: Any,
        ids: np.ndarray,
        queries: np.ndarray,
        k: int,
        among: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find near rows or, with `among`, exactly the nearest of those."""
        stored = faiss.downcast_index(index.storage)
        if among is not None:
            return exact_among(stored, queries, k, among)
        kept = _faiss.SearchParametersHNSW(efSearch=max(self.ef_search, k))
        cosines, rows = index.search(unit(queries), k, params=kept)
        # Many copies of one image may be linked only with one another.
        return filled_up(
            cosines, rows, lambda short: exact_nearest(stored, queries[short], k)
        )
