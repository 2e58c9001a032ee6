"""Opens an index and searches it."""

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike
from pyarrow import compute

from deml_tf.bulk.index_files import check_files, read_rows, read_vectors
from deml_tf.bulk.index_folder import DESCRIPTION, ROWS, VECTORS, read_description
from deml_tf.bulk.model_id import ModelId, require_same
from deml_tf.cli.printing import decodable, printable
from deml_tf.errors import DataError, UsageError
from deml_tf.retrieval.inputs import check_rows


class Rows(NamedTuple):
    """The images found for q queries, k for each, nearest first.

    Attributes:
        ids: (q, k) int64.
        paths: (q, k) strings.
        labels: (q, k) strings, None where an image has none.
        boxes: (q, k, i, 4) float32: ymin, xmin, ymax, xmax of each scale, relative to
            the upright image.
    """

    ids: np.ndarray
    paths: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


class IndexReader:
    """An index that can be searched, by several threads at once.

    The vectors are mapped into memory and read as they are needed; ids, paths, labels
    and boxes are held in memory. If the index is replaced meanwhile, the old one stays
    open.

    Args:
        folder: What `python -m deml_tf.index` has written.
        model: Which export the queries come from; None skips this check.

    Attributes:
        description: What index.json says, including `threshold`.
        count: Number of images, n.

    Raises:
        UsageError: The folder is not an index.
        DataError: The queries' weights differ from the index's, or the files do not fit
            together.
    """

    def __init__(self, folder: str | os.PathLike[str], model: ModelId | None = None):
        self._named = f"index={os.fspath(folder)}"
        with contextlib.ExitStack() as stack:
            files = self._files(folder, stack)
            self.description = read_description(files[DESCRIPTION], self._named)
            if model is not None:
                self.require(model)
            self._read(files)
        self.count = self.description.count
        self._kind = self.description.index_kind()

    def _files(
        self, folder: str | os.PathLike[str], stack: contextlib.ExitStack
    ) -> dict[str, Path]:
        """Open all files of one folder, even if another takes its name meanwhile."""
        name = ""
        try:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, place)
            files = {}
            for name in (DESCRIPTION, ROWS, VECTORS):
                handle = os.open(name, os.O_RDONLY, dir_fd=place)
                stack.callback(os.close, handle)
                files[name] = Path(f"/proc/self/fd/{handle}")
        except OSError as error:
            raise UsageError(
                f"{self._named} is no index, for {name or 'it'} cannot be read "
                f"({error.strerror}): name a folder that python -m deml_tf.index has "
                "written."
            ) from error
        return files

    def _read(self, files: Mapping[str, Path]) -> None:
        check_files(files[VECTORS], files[ROWS], self.description, self._named)
        mapped = faiss.IO_FLAG_MMAP_IFC
        self._index = read_vectors(files[VECTORS], self._named, mapped)
        table = read_rows(files[ROWS], self._named)
        for name in ("path", "label"):  # with room for more than 2 GiB of text
            large = table[name].cast(pa.large_string())
            table = table.set_column(table.column_names.index(name), name, large)
        table = table.combine_chunks()
        self._ids = table["id"].to_numpy()
        self._table = table.select(["path", "label", "boxes"])
        counts = (self.description.count, len(table), self._index.ntotal)
        if len(set(counts)) > 1:
            raise DataError(
                f"{self._named} holds {counts[2]:,} vectors, {counts[1]:,} rows, and "
                f"{counts[0]:,} by its description: build it again."
            )

    def require(self, model: ModelId) -> None:
        """Refuse queries of another model.

        Args:
            model: Which export they come from.

        Raises:
            DataError: Its weights differ from the index's.
        """
        require_same("the queries", model, self._named, self.description.model_id)

    @functools.cached_property
    def labels(self) -> dict[str, int]:
        """The labels, sorted by name, each with the number of its images.

        Images without a label are not counted.
        """
        counts = compute.value_counts(self._table["label"]).to_pylist()  # pyright: ignore[reportAttributeAccessIssue]
        found = {each["values"]: each["counts"] for each in counts}
        return {name: found[name] for name in sorted(found.keys() - {None})}

    @functools.cached_property
    def _shown(self) -> dict[str, str]:
        """The labels by how they are shown; of two that look alike, the first."""
        return {printable(label): label for label in reversed(self.labels)}

    def label_named(self, name: str) -> str | None:
        """Return a label by its name, or by how a screen or a page shows it.

        Args:
            name: The label, or what `printable` makes of it.

        Returns:
            The label; None if no image has it.
        """
        if decodable(name) in self.labels:
            return decodable(name)
        return self._shown.get(name)

    def ids(self, label: str | None = None) -> np.ndarray:
        """Return the ids of the images, ascending.

        Args:
            label: Label of the images; None for all.

        Raises:
            UsageError: No image has the label.
        """
        return self._ids if label is None else self._ids[self.rows_with(label)]

    def rows_of(self, ids: ArrayLike) -> Rows:
        """Return the rows of images by their ids.

        Args:
            ids: (n,) integers.

        Returns:
            The rows, each array of shape (n, ...).

        Raises:
            UsageError: An id is not in the index.
        """
        asked = np.asarray(ids, np.int64).reshape(-1)
        rows = np.minimum(np.searchsorted(self._ids, asked), self.count - 1)
        missing = asked[self._ids[rows] != asked]
        if missing.size:
            raise UsageError(
                f"ids={missing[0]} is not in {self._named}: give one of those that a "
                "search finds."
            )
        return self._rows(rows)

    def rows_with(self, label: str) -> np.ndarray:
        """Return the positions of the images with a label.

        Args:
            label: The label, or how it is shown.

        Returns:
            (m,) int64, ascending, m at least 1.

        Raises:
            UsageError: No image has it.
        """
        found = self.label_named(label)
        if found is None:
            raise UsageError(
                f"label={printable(label)}: no image of {self._named} has it: give "
                "another, or none."
            )
        same = compute.equal(self._table["label"], found)  # pyright: ignore[reportAttributeAccessIssue]
        return np.flatnonzero(same.fill_null(False).to_numpy())

    def search(
        self, queries: ArrayLike, k: int = 10, *, label: str | None = None
    ) -> tuple[np.ndarray, Rows]:
        """Find the nearest images.

        Args:
            queries: (q, d) embeddings, of any length but 0.
            k: How many to find for each, by default 10; all, if there are fewer.
            label: Label of the images that are searched; None searches all.

        Returns:
            Cosines (q, k) float32, descending, and the rows; equal cosines are ordered
            by id. An index of kind flat is exact; the cosines of ivfpq are those of
            rounded vectors.

        Raises:
            UsageError: The queries have another shape, k is below 1, or no image has
                the label.
            DataError: A query holds NaN or inf, or nothing but zeros.
        """
        if k < 1:
            raise UsageError(f"k={k}: it must be at least 1.")
        asked = check_rows(queries, "queries")
        dim = self.description.embedding_dim
        if asked.shape[1] != dim:
            raise UsageError(
                f"queries have {asked.shape[1]} numbers each, and {self._named} holds "
                f"embeddings of {dim}: embed them with "
                f"{self.description.model} {self.description.version}."
            )
        among = None if label is None else self.rows_with(label)
        k = min(k, self.count if among is None else len(among))
        cosines, rows = self._kind.nearest(self._index, self._ids, asked, k, among)
        return cosines, self._rows(rows)

    def _rows(self, rows: np.ndarray) -> Rows:
        found = self._table.take(rows.ravel())
        paths, labels = (
            np.array(found[name].to_pylist(), object).reshape(rows.shape)
            for name in ("path", "label")
        )
        flat = found["boxes"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        boxes = flat.reshape(*rows.shape, self.description.scales, 4)
        return Rows(self._ids[rows], paths, labels, boxes)
