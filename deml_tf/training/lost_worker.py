"""What the workers that are left say when one of them is gone."""

import contextlib
from collections.abc import Iterator

from deml_tf.cli.error_text import COLLECTIVE_ERRORS, is_lost
from deml_tf.errors import DataError
from deml_tf.training.cluster import Cluster


@contextlib.contextmanager
def explained(cluster: Cluster) -> Iterator[None]:
    """Turn the end of a collective operation into a sentence with a hint.

    Args:
        cluster: This worker among the others; alone it has nobody to lose.

    Raises:
        DataError: Another worker was lost while the block ran.
    """
    try:
        yield
    except COLLECTIVE_ERRORS as error:
        if cluster.size == 1 or not is_lost(error):
            raise
        raise DataError(
            f"Worker {cluster.rank} of {cluster.size} lost another one, so the "
            "training stops everywhere: see that worker's own output, then start all "
            "workers again with the same command; it goes on from the last checkpoint."
        ) from error
