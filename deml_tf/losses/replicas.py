"""Rows of all replicas: the only place where losses know of other replicas.

A pair loss compares the rows `p` of its own replica with the columns `q` of all
replicas. Divided by the global number of pairs, the gradients of the replicas then
sum to the gradient one device would have had on the whole batch. All replicas must
hold the same number of rows (`drop_remainder`). With one replica nothing is exchanged.
Only TensorFlow's strategies are known: another backend of Keras has one replica.
"""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops


def gather_rows(rows: Any) -> Any:
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


def first_row(rows: Any, columns: Any) -> Any:
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
        return 0
    import tensorflow as tf

    size = tf.shape(rows)[0]
    tf.debugging.assert_equal(
        size * replica.num_replicas_in_sync,
        tf.shape(columns)[0],
        "Every replica needs the same number of images: batch with drop_remainder.",
    )
    return size * tf.cast(replica.replica_id_in_sync_group, size.dtype)


def sum_over_replicas(values: Any) -> Any:
    """Add up what each replica has, such as its number of pairs.

    Args:
        values: Of any shape, the same on all replicas.

    Returns:
        Of the same shape; `values` itself with a single replica. It has a gradient.
    """
    if _replica_among_others() is None:
        return values
    return ops.sum(gather_rows(values[None]), axis=0)


def replica_number() -> int:
    """Return which replica is being traced; 0 where one trace serves all."""
    replica = _replica_among_others()
    if replica is None:
        return 0
    import tensorflow as tf

    number = tf.get_static_value(replica.replica_id_in_sync_group)
    return 0 if number is None else int(number)


def _replica_among_others() -> Any:
    """Return the replica context, or None where there is no other replica."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return None
    return replica
