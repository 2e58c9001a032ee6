"""The images most like a query, and whether it belongs to a known class at all."""

from typing import NamedTuple

import numpy as np

from deml_tf.bulk.index_reader import IndexReader
from deml_tf.search.query import Query

MOST = 200
"""Images shown for one query, at most."""
THUMBNAIL_SIDE = 320
"""Pixels of a thumbnail's longer side."""


class Hit(NamedTuple):
    """An image that was found.

    Attributes:
        row: Its id in the index.
        cosine: Cosine between its embedding and the query's.
        label: Its class; None if that is not known.
        path: Its file.
        boxes: float32 `(i, 4)`: ymin, xmin, ymax, xmax of what each scale saw.
    """

    row: int
    cosine: float
    label: str | None
    path: str
    boxes: np.ndarray


class Found(NamedTuple):
    """The answer to a query.

    Attributes:
        hits: The images found, nearest first.
        best: Cosine of the nearest image, whatever its label; None if there is none.
        threshold: The index's; None if it was not measured.
    """

    hits: tuple[Hit, ...]
    best: float | None
    threshold: float | None

    @property
    def unknown(self) -> bool:
        """Whether no image is near enough for a match to be trusted."""
        if self.best is None or self.threshold is None:
            return False
        return self.best < self.threshold

    @property
    def verdict(self) -> str:
        """Why the query is unknown, in words; empty if it is not."""
        if not self.unknown:
            return ""
        return (
            f"unknown: the best cosine is {self.best:.3f}, and below "
            f"{self.threshold:.3f} no match is to be believed"
        )


def find(
    reader: IndexReader,
    query: Query,
    k: int,
    *,
    label: str | None = None,
    without: int | None = None,
) -> Found:
    """Find the images nearest to a query.

    Args:
        reader: The index.
        query: The query.
        k: Number of images, at least 1.
        label: Label of the images that are searched; None searches all.
        without: Id of an image to leave out: the query itself.

    Returns:
        At most k images, in the reader's order.

    Raises:
        UsageError: No image has the label.
    """
    width = k + (without is not None)
    cosines, rows = reader.search(query.embedding[None], width, label=label)
    hits = [
        Hit(int(row), float(cosine), of, path, boxes)
        for cosine, row, path, of, boxes in zip(
            cosines[0], *(each[0] for each in rows), strict=True
        )
        if row != without
    ][:k]
    if label is None:
        best = hits[0].cosine if hits else None
    else:
        best = find(reader, query, 1, without=without).best
    return Found(tuple(hits), best, reader.description.threshold)
