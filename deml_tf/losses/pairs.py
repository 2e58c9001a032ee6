"""Pairs of images in a batch: which are compared, and how alike they are."""

import dataclasses
from typing import Any

from deml_tf.errors import UsageError
from deml_tf.losses.class_numbers import class_numbers
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.replicas import first_row, gather_rows, sum_over_replicas

PAIRS = ("global", "replica")
# Squared length under which a vector has no direction worth trusting.
SQUARED_LENGTH_FLOOR = 1e-12


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Rows against columns: the images of a batch against those they are compared with.

    Attributes:
        rows: `(b, j, d)`, float32, of any length: this replica's images.
        columns: `(B, j, d)`, float32: the images of all replicas, or references.
        labels: `(b,)`, of the rows.
        column_labels: `(B,)`, of the columns.
        same: `(b, B)`, bool: pairs of one class, except an image and itself.
        other: `(b, B)`, bool: pairs of two classes.
        is_global: Whether sums over rows are sums over the rows of all replicas.
    """

    rows: Any
    columns: Any
    labels: Any
    column_labels: Any
    same: Any
    other: Any
    is_global: bool

    def cosines(self) -> Any:
        """Return the cosines `(j, b, B)`; 0 for a zero vector."""
        return cosine_similarities(self.rows, self.columns)

    def distances(self, normalise: bool = True) -> Any:
        """Return the Euclidean distances `(j, b, B)`, with a gradient of 0 at 0.

        Args:
            normalise: Whether they are those of the unit vectors.
        """
        return safe_sqrt(self.squared_distances(normalise))

    def squared_distances(self, normalise: bool = True) -> Any:
        """Return the squared distances `(j, b, B)`, at least 0.

        Args:
            normalise: Whether they are those of the unit vectors.
        """
        rows, columns = self.rows, self.columns
        if normalise:
            rows, columns = unit_vectors(rows), unit_vectors(columns)
        dots = ops.einsum("pjd,qjd->jpq", rows, columns)
        lengths = [
            ops.transpose(ops.sum(ops.square(x), axis=-1)) for x in (rows, columns)
        ]
        return ops.relu(lengths[0][:, :, None] + lengths[1][:, None, :] - 2 * dots)

    def total(self, values: Any) -> Any:
        """Add values up over the rows, of all replicas if these are compared.

        Args:
            values: `(..., b)`, one for each row.

        Returns:
            `(...)`.
        """
        summed = ops.sum(values, axis=-1)
        return sum_over_replicas(summed) if self.is_global else summed

    def count(self, marked: Any) -> Any:
        """Count marked pairs over the rows, of all replicas if these are compared.

        Args:
            marked: `(..., b, B)`, bool, as `same` and `other`; each unordered pair
                of a batch appears twice.

        Returns:
            `(...)`, float32: whole numbers, exact up to 4,096 images.
        """
        return self.total(ops.sum(ops.cast(marked, "float32"), axis=-1))

    def share(self, values: Any, count: Any) -> Any:
        """Weight each row's value so that the mean over rows is `sum / count`.

        Args:
            values: `(..., b)`, one for each row.
            count: `(...)` or scalar; 0 gives 0.

        Returns:
            `(..., b)`: `values * number of rows / count`.
        """
        rows = self.total(ops.ones_like(self.rows[:, 0, 0]))
        count = ops.convert_to_tensor(count, dtype=values.dtype)
        return values * ops.divide_no_nan(rows, count)[..., None]


def pairs_of(
    labels: Any, embeddings: Any, pairs: str = "global", references: Any = None
) -> Pairs:
    """Compare the rows of this replica with the columns of all, or with references.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners, of any floating
            type.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone, whose losses the
            replicas then average.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, the same on every replica, to compare the batch with instead of
            itself; a third, `(m,)` of bool, may say which of them are present.

    Returns:
        The pairs.

    Raises:
        UsageError: If the shapes or `pairs` are not those above.
    """
    if pairs not in PAIRS:
        raise UsageError(f"pairs={pairs!r}: use one of {', '.join(PAIRS)}.")
    labels, rows = class_numbers(labels), by_learner(embeddings)
    if references is not None:
        column_labels, columns = class_numbers(references[0]), by_learner(references[1])
        column_labels = ops.cast(column_labels, labels.dtype)
        same = ops.expand_dims(labels, 1) == ops.expand_dims(column_labels, 0)
        other = ops.logical_not(same)
        if len(references) > 2:  # what is absent is of neither kind
            present = ops.expand_dims(references[2], 0)
            same, other = (ops.logical_and(mask, present) for mask in (same, other))
    else:
        column_labels, columns, first = labels, rows, 0
        if pairs == "global":
            column_labels, columns = gather_rows(labels), gather_rows(rows)
            first = first_row(labels, column_labels)
        same, other = class_masks(labels, column_labels, first)
    return Pairs(rows, columns, labels, column_labels, same, other, pairs == "global")


def pairs_among(references: Any) -> Pairs:
    """Compare references with one another, for losses that ask for their negatives.

    Args:
        references: As in `pairs_of`.

    Returns:
        The pairs; sums over their rows are the same on every replica.
    """
    labels, embeddings, *presence = references
    among = pairs_of(labels, embeddings, "replica")
    for present in presence:
        both = ops.logical_and(present[:, None], present[None])
        same, other = (ops.logical_and(m, both) for m in (among.same, among.other))
        among = dataclasses.replace(among, same=same, other=other)
    return among


def by_learner(embeddings: Any) -> Any:
    """Give embeddings a learner axis, `(b, j, d)`, and float32.

    Args:
        embeddings: `(b, d)` or `(b, j, d)`, any floating type.

    Raises:
        UsageError: If the shape is another.
    """
    # Float32 already here, since a gather's gradient is a sum over replicas.
    embeddings = ops.cast(ops.convert_to_tensor(embeddings), "float32")
    if len(embeddings.shape) not in (2, 3):
        raise UsageError(
            f"embeddings have shape {tuple(embeddings.shape)}; give (b, d) or "
            "(b, j, d)."
        )
    return embeddings[:, None] if len(embeddings.shape) == 2 else embeddings


def unit_vectors(vectors: Any) -> Any:
    """Scale vectors to length one over their last axis, in float32.

    A vector shorter than 1e-6 has no direction: it becomes zero and gets a zero
    gradient, rather than one multiplied by the inverse of its length. One longer than
    1e19 becomes NaN.

    Args:
        vectors: `(..., d)`, any floating type.

    Returns:
        `(..., d)`, float32.
    """
    vectors = ops.cast(vectors, "float32")
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    # One too long for float32 would silently become zero.
    squared = ops.where(ops.isfinite(squared), squared, float("nan"))
    # NaN must stay NaN, hence "too short" and not "long enough".
    short = squared < SQUARED_LENGTH_FLOOR
    # The inner `where` keeps the gradient of rsqrt finite on the branch not taken.
    inverse = ops.rsqrt(ops.where(short, ops.ones_like(squared), squared))
    return vectors * ops.where(short, ops.zeros_like(inverse), inverse)


def safe_sqrt(squared: Any) -> Any:
    """Return the square root, whose gradient at 0 is 0 and not infinite.

    Args:
        squared: Of any shape, at least 0.
    """
    is_zero = squared <= 0  # NaN stays NaN
    root = ops.sqrt(ops.where(is_zero, ops.ones_like(squared), squared))
    return ops.where(is_zero, ops.zeros_like(root), root)


def cosine_similarities(rows: Any, columns: Any) -> Any:
    """Compare each row with each column by cosine, learner by learner.

    Args:
        rows: `(b, j, d)`, embeddings of any length.
        columns: `(B, j, d)`, embeddings of any length.

    Returns:
        `(j, b, B)`, float32 in [-1, 1] up to rounding; 0 for a zero vector.
    """
    return ops.einsum("pjd,qjd->jpq", unit_vectors(rows), unit_vectors(columns))


def class_masks(labels: Any, column_labels: Any, first: Any = 0) -> tuple[Any, Any]:
    """Mark the pairs of one class and the pairs of two.

    An image is left out of its own row by its index, not by its similarity: a second
    copy of an image is a pair like any other.

    Args:
        labels: `(b,)`, of the rows.
        column_labels: `(B,)`, of the columns.
        first: Column of the first row, see `first_row`.

    Returns:
        `same` and `other`, both `(b, B)`, bool. Only the self-pairs are in neither.
    """
    equal = ops.expand_dims(labels, 1) == ops.expand_dims(column_labels, 0)
    row = first + ops.arange(ops.shape(labels)[0], dtype="int32")
    column = ops.arange(ops.shape(column_labels)[0], dtype="int32")
    another = ops.expand_dims(row, 1) != ops.expand_dims(column, 0)
    return (
        ops.logical_and(equal, another),
        ops.logical_and(ops.logical_not(equal), another),
    )
