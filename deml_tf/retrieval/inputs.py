"""What retrieval accepts: rows of finite numbers that have a direction, and labels."""

import math
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
        leaves_itself_out: Whether no gallery is given, so that a query must not find
            itself.
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
        labels: (n,) integers or strings; None if labels are not used.
        gallery_embeddings: (m, d); None if the embeddings are their own gallery.
        gallery_labels: (m,) given if and only if both of the two before are.

    Returns:
        The checked arrays.

    Raises:
        UsageError: Arrays have the wrong kind or shape, or do not fit together.
        DataError: A row holds NaN or inf, or nothing but zeros.
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
        name: What an error message calls them.

    Returns:
        (n, d): the array itself if it is float32 or float64; integers as float64,
        narrower floats as float32.

    Raises:
        UsageError: The shape is another, or they are not real numbers.
        DataError: A row holds NaN or inf, or nothing but zeros.
    """
    values = np.asarray(embeddings)
    kind, size = values.dtype.kind, values.dtype.itemsize  # of either byte order
    is_wide = kind in "iu" or (kind == "f" and size >= 8)
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
    )  # (n,): NaN and inf show in the maximum
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
    """Return labels as an array of numbers or, as objects, of Python's strings."""
    try:
        # NumPy gives a list one type: 2**63 beside -1 as floats, 1 beside "a" as text.
        values = np.asarray(labels, None if hasattr(labels, "dtype") else object)
    except ValueError as error:
        raise UsageError(f"{name} is no list; give one label an image.") from error
    if values.ndim != 1:
        raise UsageError(f"{name} has shape {values.shape}; give one label an image.")
    if len(values) != n:
        raise UsageError(
            f"{name} has {len(values)} entries for {n} rows of {rows}; "
            "give one label a row."
        )
    kind = values.dtype.kind
    if kind in "OSTU":
        plain = [_plain(value) for value in values.tolist()]
        kinds = set(map(type, plain))
        if kinds == {float}:
            return _exact(np.array(plain), name)
        if kinds <= {bool, int} and np.array(plain).dtype.kind in "biu":
            return np.array(plain)
        if kinds == {str} or kinds <= {bool, int, float}:
            return np.array([*plain, None])[:-1]  # objects, whatever they are
    elif kind in "biuf" and (kind != "f" or np.isfinite(values).all()):
        return _exact(values, name)
    raise UsageError(
        f"{name} (dtype {values.dtype}) holds something else than labels; "
        "give integers or strings."
    )


def _exact(values: np.ndarray, name: str) -> np.ndarray:
    """Refuse floats so large that whole numbers are rounded to one another."""
    if values.dtype.kind == "f":
        rounded = np.abs(values) >= 2.0 ** (np.finfo(values.dtype).nmant + 1)
        if rounded.any():
            raise UsageError(
                f"{name} (dtype {values.dtype}) holds {values[rounded][0]:.0f}, where "
                "that type rounds whole numbers; give integers or strings."
            )
    return values


def _plain(label: Any) -> Any:
    """Return a label as Python's own string or finite number; None if it is neither."""
    if isinstance(label, bytes):
        return label.decode(errors="surrogateescape")
    if isinstance(label, str):
        return str(label)
    if isinstance(label, np.bool | np.integer | np.floating):
        label = label.item()
    is_number = isinstance(label, bool | int | float) and abs(label) < math.inf
    return label if is_number else None


def _joined(names: np.ndarray, gallery_names: np.ndarray) -> np.ndarray:
    """Join labels of one kind exactly: NumPy would join uint64 and int64 as floats."""
    kinds = [isinstance(each[0], str) for each in (names, gallery_names)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"labels are {names.dtype} and gallery_labels {gallery_names.dtype}; "
            "give both as integers or both as strings."
        )
    if names.dtype != gallery_names.dtype:
        names, gallery_names = names.astype(object), gallery_names.astype(object)
    return np.concatenate([names, gallery_names])


def check_ranks(ranks: Sequence[int] | int) -> tuple[int, ...]:
    """Return the K of Recall@K as integers.

    Args:
        ranks: At least one, each at least 1.

    Returns:
        The same.

    Raises:
        UsageError: There are none, or one is not a whole number of at least 1.
    """
    values: list[Any] = np.atleast_1d(np.asarray(ranks, object)).tolist()
    if not values:
        raise UsageError("ranks is empty; give at least one, such as (1, 2, 4, 8).")
    for value in values:
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not is_whole or value < 1:
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
