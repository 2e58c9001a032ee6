"""Vectors compressed to a few bytes each, in lists around centres."""

from typing import Any

import faiss
import numpy as np

from deml_tf.bulk.index_kind import IndexKind, filled_up, unit
from deml_tf.errors import UsageError

_faiss: Any = faiss  # its type hints lack the parameters of a search
_FLOAT, _ID = 4, 8  # bytes
_CENTRES = 256  # for each byte
_LEAST = 39  # vectors per centre, below which FAISS warns
_DRAWN = 50  # vectors per list that the centres are computed from
_PER_BYTE = 8  # numbers of a vector in one byte, unless m is given
LEAST = _LEAST * _CENTRES
"""The least number of vectors that an index can be trained on."""


class IvfPq(IndexKind):
    """Search the lists of the nearest centres (FAISS's `IndexIVFPQ`).

    Each vector is kept as `m` bytes (product quantization, Jegou et al., PAMI 2011) in
    the list of its nearest centre. The cosines are therefore those of rounded vectors,
    smaller than the true ones.

    Args:
        nlist: Number of lists, each with its centre; by default 4 sqrt(n) for n
            vectors, as FAISS advises, but at most n / 39.
        m: Number of bytes kept of each vector, by default one for 8 of its numbers. A
            vector gets zeros at its end until m divides its size.
        nprobe: Number of lists that a search looks into; with more, it takes longer and
            finds more of the true neighbours.
        seed: Seed of the choice of the vectors for training, and of k-means.
    """

    def __init__(
        self,
        nlist: int | None = None,
        m: int | None = None,
        nprobe: int = 32,
        seed: int = 0,
    ):
        for name, value, least in (
            ("nlist", nlist, 1),
            ("m", m, 1),
            ("nprobe", nprobe, 1),
            ("seed", seed, 0),
        ):
            if value is not None and not least <= value < 2**31:
                raise UsageError(f"{name}={value}: it must be {least} to {2**31 - 1}.")
        self.nlist, self.m = nlist, m
        self.nprobe, self.seed = nprobe, seed

    def settings(self) -> dict[str, int | None]:
        """Return the constructor's arguments."""
        return {
            "nlist": self.nlist,
            "m": self.m,
            "nprobe": self.nprobe,
            "seed": self.seed,
        }

    def check(self, dim: int, count: int) -> None:
        """Refuse too few vectors to train on, and more lists or bytes than make sense.

        Raises:
            UsageError: For any of these.
        """
        if count < LEAST:
            raise UsageError(
                f"kind=ivfpq needs at least {LEAST:,} embeddings to train on, and here "
                f"are {count:,}: give kind=flat, which is exact."
            )
        if self.nlist is not None and self.nlist * _LEAST > count:
            raise UsageError(
                f"nlist={self.nlist} is too much for {count:,} embeddings: give at "
                f"most {count // _LEAST}, for {_LEAST} embeddings a list."
            )
        if self.m is not None and self.m > dim:
            raise UsageError(f"m={self.m}: give at most {dim}, the embeddings' size.")

    def held_bytes(self, dim: int, count: int) -> int:
        """Predict the memory of centres, bytes and ids."""
        centres = (self._lists(count) + _CENTRES) * _FLOAT * self._padded(dim)
        # A list that is full doubles its memory.
        return centres + 2 * count * (self._bytes(dim) + _ID)

    def training_bytes(self, dim: int, count: int) -> int:
        """Predict the memory of training: vectors drawn, padded, residual; centres."""
        drawn = self.training_size(count) * _FLOAT * (dim + 2 * self._padded(dim))
        return drawn + (self._lists(count) + _CENTRES) * _FLOAT * self._padded(dim)

    def training_size(self, count: int) -> int:
        """Return how many vectors are drawn for training."""
        return min(count, max(LEAST, _DRAWN * self._lists(count)))

    def create(self, dim: int, count: int) -> Any:
        """Make an untrained index."""
        # np: without sorting the centres for a search by Hamming distance, which would
        # take longer than all the rest of the training.
        code = f"PQ{self._bytes(dim)}np"
        parts = f"Pad{self._padded(dim)},IVF{self._lists(count)},{code}"
        index = faiss.index_factory(dim, parts, faiss.METRIC_INNER_PRODUCT)
        lists = _faiss.downcast_index(faiss.extract_index_ivf(index))
        lists.nprobe = self.nprobe
        lists.cp.seed = lists.pq.cp.seed = self.seed
        return index

    def nearest(
        self,
        index: Any,
        ids: np.ndarray,
        queries: np.ndarray,
        k: int,
        among: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find near rows, by the cosines of rounded vectors."""
        queries = unit(queries)
        every = faiss.extract_index_ivf(index).nlist
        chosen = None if among is None else faiss.IDSelectorBatch(ids[among])

        def search(queries: np.ndarray, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
            of_lists = _faiss.SearchParametersIVF(nprobe=nprobe, sel=chosen)
            params = _faiss.SearchParametersPreTransform(index_params=of_lists)
            cosines, found = index.search(queries, k, params=params)
            rows = np.searchsorted(ids, found)
            return cosines, np.where(found < 0, -1, rows)

        nprobe = min(self.nprobe, every) if among is None else every
        cosines, rows = search(queries, nprobe)
        return filled_up(cosines, rows, lambda short: search(queries[short], every))

    def _lists(self, count: int) -> int:
        if self.nlist is not None:
            return self.nlist
        return max(1, min(int(4 * count**0.5), count // _LEAST))

    def _bytes(self, dim: int) -> int:
        return self.m or -(-dim // _PER_BYTE)

    def _padded(self, dim: int) -> int:
        code = self._bytes(dim)
        return -(-dim // code) * code
