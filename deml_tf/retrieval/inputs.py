"""What retrieval accepts: rows of finite numbers that have a direction, and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from deml_tf.errors import DataError, UsageError

_CHUNK = 4096  # rows held in float64 at one time


@dataclass(frozen=True, slots=True)
class QueriesAndGallery:
    """Queries and the gallery that is searched for them, checked.

    Attributes:
        queries: (n, d) float32 or float64, as given: not normalised.
        query_codes: (n,) int32 class numbers; -1 where there are no labels.
        gallery: (m, d); the queries themselves where no gallery is given.
        gallery_codes: (m,) int32 class numbers, none of them -1.
        classes: (c,) the sorted distinct labels that the class numbers index.
        leaves_itself_out: No gallery is given, so a query must not find itself.
    """

    queries: np.ndarray
    query_codes: np.ndarray
    gallery: np.ndarray
    gallery_codes: np.ndarray
    classes: np.ndarray
    leaves_itself_out: bool


def check_inputs(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    gallery_embeddings: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
) -> QueriesAndGallery:
    """Check queries and gallery by themselves and against one another.

    Args:
        embeddings: (n, d) numbers of any real type, n and d at least 1.
        labels: (n,) integers or strings; None where labels play no part.
        gallery_embeddings: (m, d); None: the embeddings are their own gallery.
        gallery_labels: (m,) given exactly where both of the two before are.

    Returns:
        Them, checked.

    Raises:
        UsageError: Arrays of the wrong kind or shape, or that do not fit together.
        DataError: A row that holds NaN or inf, or nothing but zeros.
    """
    alone = gallery_embeddings is None
    if (gallery_labels is None) != (alone or labels is None):
        raise UsageError(
            "gallery_labels must be given exactly where labels and "
            "gallery_embeddings both are."
        )
    queries = check_rows(embeddings, "embeddings")
    gallery = queries
    if gallery_embeddings is not None:
        gallery = check_rows(gallery_embeddings, "gallery_embeddings")
        if gallery.shape[1] != queries.shape[1]:
            raise UsageError(
                f"gallery_embeddings has {gallery.shape[1]} numbers a row and "
                f"embeddings {queries.shape[1]}; give both from one model."
            )
    n, m = len(queries), len(gallery)
    codes, classes = np.repeat([-1, 0], [n, m]), np.zeros(1, np.int32)
    if labels is not None:
        names = _check_labels(labels, n, "labels", "embeddings")
        gallery_names = names
        if gallery_labels is not None:
            rows = ("gallery_labels", "gallery_embeddings")
            gallery_names = _check_labels(gallery_labels, m, *rows)
        classes, codes = np.unique(_joined(names, gallery_names), return_inverse=True)
    codes = codes.astype(np.int32)
    return QueriesAndGallery(queries, codes[:n], gallery, codes[n:], classes, alone)


def check_rows(embeddings: ArrayLike, name: str) -> np.ndarray:
    """Return embeddings as a matrix of floats whose rows can be normalised.

    Args:
        embeddings: (n, d) numbers of any real type.
        name: What a message calls them.

    Returns:
        (n, d): the array itself if it is float32 or float64; float64 made of integers,
        float32 made of narrower floats.

    Raises:
        UsageError: Another shape, or no real numbers.
        DataError: A row that holds NaN or inf, or nothing but zeros.
    """
    values = np.asarray(embeddings)
    is_wide = values.dtype.kind in "iu" or values.dtype == np.float64
    dtype: Any = np.float64 if is_wide else np.float32
    try:
        if values.dtype.kind in "SUOMm":  # of which NumPy makes numbers where it can
            raise ValueError("no numbers")
        values = check_array(values, dtype=dtype, ensure_all_finite=False)
    except ValueError as error:
        raise UsageError(
            f"{name} has shape {values.shape} and dtype {values.dtype}; give one row "
            "of real numbers an image, (n, d), with n and d at least 1."
        ) from error
    largest = np.concatenate(
        [np.abs(values[i : i + _CHUNK]).max(axis=1) for i in _starts(values)]
    )  # (n,): NaN and inf reach the maximum
    _refuse(~np.isfinite(largest), name, "hold NaN or inf")
    _refuse(largest == 0, name, "are all zero and so have no direction")
    return values


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Scale rows to length 1, in float64.

    Each row is divided by its largest entry first, so that no square overflows.

    Args:
        values: (n, d), no row of zeros.

    Returns:
        (n, d) float64.
    """
    rows = values.astype(np.float64)
    rows /= np.abs(rows).max(axis=1, keepdims=True)
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


def unit_rows_float32(values: np.ndarray) -> np.ndarray:
    """Return the rows of `unit_rows` rounded to float32, computed a chunk at a time.

    Args:
        values: (n, d), no row of zeros.

    Returns:
        (n, d) float32.
    """
    units = np.empty(values.shape, np.float32)
    for i in _starts(values):
        units[i : i + _CHUNK] = unit_rows(values[i : i + _CHUNK])
    return units


def _check_labels(labels: ArrayLike, n: int, name: str, rows: str) -> np.ndarray:
    values = np.asarray(labels)
    if values.ndim != 1:
        raise UsageError(f"{name} has shape {values.shape}; give one label an image.")
    if len(values) != n:
        raise UsageError(
            f"{name} has {len(values)} entries for {n} rows of {rows}; "
            "give one label a row."
        )
    for kind in (str, bytes):
        if values.dtype == object and all(isinstance(v, kind) for v in values):
            values = values.astype(kind)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind not in "biufU" or (
        values.dtype.kind == "f" and not np.isfinite(values).all()
    ):
        raise UsageError(
            f"{name} (dtype {values.dtype}) holds something else than labels; "
            "give integers or strings."
        )
    return values


def _joined(names: np.ndarray, gallery_names: np.ndarray) -> np.ndarray:
    """Join labels of one kind: among strings, the number 1 would equal "1"."""
    if (names.dtype.kind == "U") != (gallery_names.dtype.kind == "U"):
        raise UsageError(
            f"labels are {names.dtype} and gallery_labels {gallery_names.dtype}; "
            "give both as integers or both as strings."
        )
    return np.concatenate([names, gallery_names])


def check_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    """Return the K of Recall@K as integers.

    Args:
        ranks: At least one, each at least 1.

    Returns:
        The same.

    Raises:
        UsageError: None at all, or one that is no whole number from 1 up.
    """
    values: list[Any] = list(np.atleast_1d(np.asarray(ranks)))
    if not values:
        raise UsageError("ranks is empty; give at least one, such as (1, 2, 4, 8).")
    for value in values:
        if not isinstance(value, np.integer) or value < 1:
            raise UsageError(f"ranks holds {value}; give whole numbers from 1 up.")
    return tuple(int(value) for value in values)


def _starts(values: np.ndarray) -> range:
    return range(0, len(values), _CHUNK)


def _refuse(bad: np.ndarray, name: str, what: str) -> None:
    if bad.any():
        raise DataError(
            f"{name}: {int(bad.sum())} of {len(bad)} rows {what}, the first at index "
            f"{int(bad.argmax())}; look at the image and the weights behind it."
        )
