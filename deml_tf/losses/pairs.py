"""Pairs of images in a batch: unit vectors, similarities, masks, replicas.

A pair loss takes the rows `p` of its own replica against the columns `q` of all
replicas. Divided by the global number of pairs, the gradients of the replicas then
sum to the gradient one device would have had on the whole batch. All replicas must
hold the same number of rows (`drop_remainder`); one replica is the identity.
"""

import tensorflow as tf

# Squared length under which a vector has no direction worth trusting.
SQUARED_LENGTH_FLOOR = 1e-12


def unit_vectors(vectors: tf.Tensor) -> tf.Tensor:
    """Scale vectors to length one over their last axis, in float32.

    A vector shorter than 1e-6 has no direction: it becomes zero and gets a zero
    gradient, rather than one multiplied by the inverse of its length.

    Args:
        vectors: `(..., d)`, any floating type.

    Returns:
        `(..., d)`, float32.
    """
    vectors = tf.cast(vectors, tf.float32)
    squared = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    # NaN must stay NaN, hence "too short" and not "long enough".
    short = squared < SQUARED_LENGTH_FLOOR
    # The inner `where` keeps the gradient of rsqrt finite on the branch not taken.
    inverse = tf.math.rsqrt(tf.where(short, tf.ones_like(squared), squared))
    return vectors * tf.where(short, tf.zeros_like(inverse), inverse)


def gather_rows(rows: tf.Tensor) -> tf.Tensor:
    """Join the rows of all replicas, in the order of the replicas.

    The gradient of the gather is the sum over replicas of the gradients for the
    rows that each of them contributed.

    Args:
        rows: `(b, ...)`, this replica's rows.

    Returns:
        `(B, ...)`, all replicas' rows; `rows` itself with a single replica or
        outside a replica context.
    """
    replica = _replica_among_others()
    return rows if replica is None else replica.all_gather(rows, axis=0)


def first_row(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Find where this replica's rows start among the gathered ones.

    Args:
        rows: `(b, ...)`, this replica's rows.
        columns: `(B, ...)`, `gather_rows(rows)`.

    Returns:
        Scalar int32; 0 with a single replica.

    Raises:
        tf.errors.InvalidArgumentError: When run, if the replicas do not hold the
            same number of rows.
    """
    replica = _replica_among_others()
    if replica is None:
        return tf.constant(0)
    size = tf.shape(rows)[0]
    tf.debugging.assert_equal(
        size * replica.num_replicas_in_sync,
        tf.shape(columns)[0],
        "Every replica needs the same number of images: batch with drop_remainder.",
    )
    return size * tf.cast(replica.replica_id_in_sync_group, size.dtype)


def cosine_similarities(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Compare each row with each column by cosine, learner by learner.

    Args:
        rows: `(b, j, d)`, embeddings of any length.
        columns: `(B, j, d)`, embeddings of any length.

    Returns:
        `(j, b, B)`, float32 in [-1, 1] up to rounding; 0 for a zero vector.
    """
    return tf.einsum("pjd,qjd->jpq", unit_vectors(rows), unit_vectors(columns))


def class_masks(
    labels: tf.Tensor, column_labels: tf.Tensor, first: tf.Tensor | int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mark the pairs of one class and the pairs of two.

    An image is left out of its own row by its index, not by its similarity: a second
    copy of an image is a pair like any other.

    Args:
        labels: `(b,)`, integers, of the rows.
        column_labels: `(B,)`, integers, of the columns.
        first: Column of the first row, see `first_row`.

    Returns:
        `same` and `other`, both `(b, B)`, bool. Only the self-pairs are in neither.
    """
    equal = labels[:, None] == column_labels[None, :]
    row = first + tf.range(tf.shape(labels)[0])
    itself = row[:, None] == tf.range(tf.shape(column_labels)[0])[None, :]
    another = tf.logical_not(itself)
    return equal & another, tf.logical_not(equal) & another


def pair_counts(labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Count the unordered pairs of one class and the unordered pairs of two.

    Args:
        labels: `(B,)`, integers, of the whole batch over all replicas.

    Returns:
        `N+` and `N-`, scalars, float32: whole numbers, exact up to 4,096 images.
    """
    equal = tf.cast(labels[:, None] == labels[None, :], tf.float32)  # (B, B)
    # The diagonal always agrees: one image is no pair.
    same = (tf.reduce_sum(equal) - tf.reduce_sum(tf.linalg.diag_part(equal))) / 2
    return same, tf.reduce_sum(1 - equal) / 2


def _replica_among_others() -> tf.distribute.ReplicaContext | None:
    """Return the replica context when more than one replica is in step."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return None
    return replica
