"""What the workers that are left say when one of them is gone."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from deml_tf.errors import DataError
from deml_tf.training.cluster import Cluster

# How TensorFlow's collective operations end when a task stops sending heartbeats, goes
# away in the midst of one, or reports an error of its own.
_ENDS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.FailedPreconditionError,
)


@contextlib.contextmanager
def explained(cluster: Cluster) -> Iterator[None]:
    """Turns the end of a collective operation into a sentence with a hint.

    Args:
        cluster: This worker among the others; alone it has nobody to lose.

    Raises:
        DataError: Another worker was lost while the block ran.
    """
    try:
        yield
    except _ENDS as error:
        if cluster.size == 1 or not is_lost(error):
            raise
        raise DataError(
            f"Worker {cluster.rank} of {cluster.size} lost another one, so the "
            "training stops everywhere: see that worker's own output, then start all "
            "workers again with the same command; it goes on from the last checkpoint."
        ) from error


def is_lost(error: Exception) -> bool:
    """Whether an error is the end of a collective operation."""
    words = (
        "ollective",
        "heartbeat",
        "unhealthy",
        "/job:",
        "coordinat",
        "failed to con",
    )
    return isinstance(error, _ENDS) and any(word in str(error) for word in words)
