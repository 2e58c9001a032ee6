"""Exact nearest neighbours by cosine; ties never count in the query's favour.

FAISS's flat search finds candidates in float32, for a block of queries at a time,
without an N x N matrix. Where float32 cannot tell whether an image of the query's class
is nearer than one of another class, both cosines are computed again in float64 from the
embeddings as given. The bound on float32's error is the worst case over all orders of
summation, so the results depend neither on block size nor on the number of threads.
"""

import functools
import sys
from collections.abc import Iterator

import faiss
import numpy as np
from numpy.typing import ArrayLike

from deml_tf.cli.printing import say
from deml_tf.errors import UsageError
from deml_tf.retrieval.inputs import (
    QueriesAndGallery,
    check_inputs,
    unit_rows,
    unit_rows_float32,
)

TIE = 2.0**-23
"""Cosines no further apart than float32's step at 1 (1.2e-7) count as equal."""

_ENTRIES = 2**22  # neighbours held at a time: with all their arrays about 0.2 GB
_PAIRS = 2**8  # pairs of rows held in float64 at a time: they fit in the cache
_ROWS = 4096  # queries in a block at most
_FEW = 1000  # queries, of which many may tie in a sound embedding
_PART = 256  # queries put in order at a time: their neighbours fit in the cache


class Ranker:
    """Ranks a gallery for rows of queries.

    An image of the query's class comes before another class's only if its cosine is
    greater by more than `TIE`; cosines are float64, of the embeddings as given.

    Args:
        inputs: queries and gallery; without labels no image is of the query's class.
        block_size: queries searched for at a time, at most.
    """

    def __init__(self, inputs: QueriesAndGallery, block_size: int = _ROWS):
        """Index the gallery: one float32 copy of it."""
        if block_size < 1:
            raise UsageError(f"block_size is {block_size}; give 1 or more.")
        self._queries, self._query_codes = inputs.queries, inputs.query_codes
        self._gallery, self._gallery_codes = inputs.gallery, inputs.gallery_codes
        self._alone = inputs.leaves_itself_out
        self.available = len(self._gallery) - self._alone
        sizes = np.bincount(self._gallery_codes, minlength=len(inputs.classes))
        self.relevant_counts = np.where(  # (n,) images there are to be found
            self._query_codes < 0, 0, sizes[self._query_codes] - self._alone
        )
        width = self._queries.shape[1]
        # Rounding two unit rows and summing d products in float32, in any order,
        # moves a cosine by less than (d + 8) 2^-24; two cosines by twice that.
        self._near = TIE + 2 * (width + 8) * 2.0**-24
        self._block_size = block_size
        self._compared = 0  # rows that needed their cosines with the whole gallery
        self._index = faiss.IndexFlatIP(width)
        for start in range(0, len(self._gallery), _ROWS):
            self._index.add(unit_rows_float32(self._gallery[start : start + _ROWS]))

    def blocks(
        self, rows: np.ndarray, depths: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rank for some queries, block by block.

        Args:
            rows: (r,) which queries.
            depths: (r,) how many neighbours each of them needs, 1 to `available`.

        Yields:
            Positions in `rows` (b,), the gallery indices of their nearest (b, k), best
            first, and the cosines (b, k) float32. k is the block's greatest depth:
            rows come sorted by depth, so that a large class costs only its own.
        """
        order = np.argsort(depths, kind="stable")
        start = self._compared = 0
        while start < len(order):
            stop = min(start + self._block_size, len(order))
            widest = self._fetched(int(depths[order[stop - 1]]))
            stop = min(stop, start + max(1, _ENTRIES // widest))
            block = order[start:stop]
            indices, cosines = self._rank(rows[block], int(depths[block[-1]]))
            yield block, indices, cosines
            start = stop
        if 2 * self._compared > len(rows) and len(rows) > _FEW:
            say(
                f"WARNING: {self._compared:,} of {len(rows):,} embeddings have "
                "neighbours that differ by rounding alone: the embedding has "
                "collapsed, and its scores say little.",
                sys.stderr,
            )

    def _fetched(self, k: int) -> int:
        # Slightly more than k, so that the k-th is clear of what was not fetched.
        return min(k + 16 + k // 16, self.available) + self._alone

    def _rank(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        cosines, indices = self._index.search(
            unit_rows_float32(self._queries[rows]), self._fetched(k)
        )  # (b, width)
        undecided = np.zeros(len(rows), bool)
        for start in range(0, len(rows), _PART):
            part = slice(start, start + _PART)
            lost = self._order(rows[part], indices[part], cosines[part], k)
            undecided[start + lost] = True
        indices, cosines = indices[:, :k], cosines[:, :k]
        lost = np.flatnonzero(undecided)
        self._compared += len(lost)
        if lost.size and self._all_tie:
            indices[lost] = self._rank_ties(rows[lost], k)
            return indices, cosines
        # At least some rows, since each such part reads the whole gallery.
        step = max(16, _ENTRIES // len(self._gallery))
        for start in range(0, len(lost), step):
            part = lost[start : start + step]
            indices[part], cosines[part] = self._rank_whole(rows[part], k)
        return indices, cosines

    def _order(
        self, rows: np.ndarray, indices: np.ndarray, cosines: np.ndarray, k: int
    ) -> np.ndarray:
        """Put the first k in order, in place; return the rows that need all cosines."""
        found, similar = indices, cosines
        if self._alone:
            keep = found != rows[:, None]
            keep[keep.all(axis=1), -1] = False  # itself is beyond the cut, after equals
            found = found[keep].reshape(len(rows), -1)
            similar = similar[keep].reshape(len(rows), -1)
        relevant = self._relevant(rows, found)
        lost = self._undecided_at_the_cut(rows, similar, relevant, k)
        relevant[lost] = False  # they will be ranked from the whole gallery
        self._settle(rows, found, similar, relevant)
        indices[:, :k], cosines[:, :k] = found[:, :k], similar[:, :k]
        return lost

    def _relevant(self, rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
        codes = self._query_codes[rows][:, None]
        return (self._gallery_codes[indices] == codes) & (codes >= 0)

    def _undecided_at_the_cut(
        self, rows: np.ndarray, cosines: np.ndarray, relevant: np.ndarray, k: int
    ) -> np.ndarray:
        """Return the rows whose first k may depend on neighbours not fetched."""
        if cosines.shape[1] == self.available:
            return np.empty(0, np.int64)
        clear = cosines[:, -1].astype(np.float64) + self._near  # (b,)
        close = np.flatnonzero(cosines[:, k - 1] <= clear)
        found = relevant[close]  # (close, width)
        worst = np.where(found, cosines[close], np.inf).min(axis=1)
        every = found.sum(axis=1) == self.relevant_counts[rows[close]]
        return close[~(every & (worst > clear[close]))]

    def _settle(
        self,
        rows: np.ndarray,
        indices: np.ndarray,
        cosines: np.ndarray,
        relevant: np.ndarray,
    ) -> None:
        """Put near-equal images of the class and of others in order, in place."""
        flat = np.flatnonzero(relevant)
        if not flat.size:
            return
        # Ascending over all rows: rows are 4 apart, cosines at most 2.
        keys = (4.0 * np.arange(len(rows))[:, None] - cosines).ravel()
        first = np.searchsorted(keys, keys[flat] - self._near, side="left")
        last = np.searchsorted(keys, keys[flat] + self._near, side="right")
        before = np.searchsorted(flat, first)  # how many relevant ones precede
        mixed = last - first > np.searchsorted(flat, last) - before
        if not mixed.any():
            return
        near = _union(first[mixed], last[mixed])
        # An exact cosine may move past neighbours that are not near themselves.
        centre = keys[flat[mixed]]
        wide = _union(
            np.searchsorted(keys, centre - 2 * self._near, side="left"),
            np.searchsorted(keys, centre + 2 * self._near, side="right"),
        )
        row, place = wide // cosines.shape[1], np.searchsorted(wide, near)
        # Both are views of contiguous rows.
        flat_indices, flat_cosines = indices.reshape(-1), cosines.reshape(-1)
        exact = flat_cosines[wide].astype(np.float64)
        exact[place] = self._pairs(rows[row[place]], flat_indices[near])
        order = np.lexsort((TIE * relevant.reshape(-1)[wide] - exact, row))
        flat_indices[wide] = flat_indices[wide[order]]
        flat_cosines[wide] = exact[order]

    def _pairs(self, rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return cosines (p,) of pairs, in float64; faster if equal rows adjoin."""
        cosines = np.empty(len(rows))
        for start in range(0, len(rows), _PAIRS):
            part = slice(start, start + _PAIRS)
            queries, which = np.unique(rows[part], return_inverse=True)
            cosines[part] = np.einsum(
                "pd,pd->p",
                unit_rows(self._queries[queries])[which],
                unit_rows(self._gallery[indices[part]]),
            )
        return cosines

    @functools.cached_property
    def _all_tie(self) -> bool:
        """Whether no two cosines of any query differ by more than `TIE`."""
        centre, farthest = unit_rows(self._gallery[:1])[0], 0.0
        for vectors in (self._gallery, self._queries):
            for start in range(0, len(vectors), _ROWS):
                units = unit_rows(vectors[start : start + _ROWS])
                farthest = max(farthest, np.square(units - centre).sum(axis=1).max())
        # Two rows are 2 r apart at most, and 1 - cosine is half the square of that.
        return 2 * farthest <= TIE

    def _rank_ties(self, rows: np.ndarray, k: int) -> np.ndarray:
        """Rank where all cosines are equal: other classes come first."""
        by_class = np.argsort(self._gallery_codes, kind="stable")
        codes = self._query_codes[rows]
        ordered = self._gallery_codes[by_class]
        first = np.searchsorted(ordered, codes, "left")
        last = np.searchsorted(ordered, codes, "right")
        found = np.empty((len(rows), k), np.int64)
        for n, row in enumerate(rows):
            before, own = by_class[: first[n]], by_class[first[n] : last[n]]
            parts = (before, by_class[last[n] :], own)
            ranked = np.concatenate([part[: k + 1] for part in parts])
            found[n] = ranked[ranked != row if self._alone else slice(None)][:k]
        return found

    def _rank_whole(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the first k from all cosines with the gallery, in float64."""
        queries = unit_rows(self._queries[rows])
        cosines = np.empty((len(rows), len(self._gallery)))
        for start in range(0, len(self._gallery), _ROWS):
            part = slice(start, start + _ROWS)
            cosines[:, part] = queries @ unit_rows(self._gallery[part]).T
        if self._alone:
            cosines[np.arange(len(rows)), rows] = -np.inf
        relevant = self._gallery_codes == self._query_codes[rows][:, None]
        keys = TIE * relevant - cosines
        indices = np.argpartition(keys, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(keys, indices, axis=1), axis=1)
        indices = np.take_along_axis(indices, order, axis=1)
        return indices, np.take_along_axis(cosines, indices, axis=1)


def _union(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the numbers that lie in any of the ranges, ascending.

    Args:
        first: (r,) where each range begins, ascending.
        last: (r,) where it has ended, ascending too.
    """
    first = np.maximum(first, np.concatenate([[0], last[:-1]]))
    sizes = last - first
    ends = np.cumsum(sizes)
    return np.arange(ends[-1]) + np.repeat(last - ends, sizes)


def nearest(
    embeddings: ArrayLike,
    k: int,
    *,
    labels: ArrayLike | None = None,
    gallery_embeddings: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
    queries: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest images of each query, by cosine, best first.

    Args:
        embeddings: (n, d) embeddings, of any length.
        k: neighbours per query, at least 1.
        labels: (n,) labels. With them ties are decided as in scoring, against the
            query, so that the first neighbour is a hit exactly where Recall@1 counts
            one. Without them ties come in no particular order.
        gallery_embeddings: (m, d) what to search; by default the embeddings
            themselves, each query left out by its index.
        gallery_labels: (m,) the gallery's labels, if labels and a gallery are given.
        queries: (r,) indices of the embeddings to search for; all by default.

    Returns:
        Indices (r, k) int64 into the gallery, and cosines (r, k) float32.

    Raises:
        UsageError: k or an index is out of range, or arrays do not fit together.
        DataError: a row holds NaN or inf, or only zeros.
    """
    inputs = check_inputs(embeddings, labels, gallery_embeddings, gallery_labels)
    ranker = Ranker(inputs)
    count = len(inputs.queries)
    if not 1 <= k <= ranker.available:
        raise UsageError(
            f"k is {k}; give a number from 1 to {ranker.available}, as many as there "
            "are other images."
        )
    chosen = np.arange(count) if queries is None else np.asarray(queries)
    if (
        chosen.ndim != 1
        or chosen.dtype.kind not in "iu"
        or np.any((chosen < 0) | (chosen >= count))
    ):
        raise UsageError(f"queries must be a list of indices from 0 to {count - 1}.")
    indices = np.empty((len(chosen), k), np.int64)
    cosines = np.empty((len(chosen), k), np.float32)
    for block, found, similar in ranker.blocks(chosen, np.full(len(chosen), k)):
        indices[block], cosines[block] = found, similar
    return indices, cosines
