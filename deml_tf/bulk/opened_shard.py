"""A shard that is open, and what is said if it cannot be read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from deml_tf.bulk.unreadable import unreadable


@contextlib.contextmanager
def opened_shard(path: Path) -> Iterator[IO[bytes]]:
    """Open a shard, and say in one sentence that it cannot be read.

    Of paths, pyarrow takes `a:b` for an address of the net, and none that is no UTF-8.

    Args:
        path: Of the shard.

    Yields:
        The file, for pyarrow.

    Raises:
        DataError: It is not there, or it is damaged where the block has read it.
    """
    try:
        with open(path, "rb") as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        mend = "delete it, and give the same embed command again"
        raise unreadable(path, error, mend) from error
