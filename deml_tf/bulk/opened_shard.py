"""A shard that is open, and what is said if it cannot be read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from deml_tf.errors import DataError


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
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{path} cannot be read ({reason}): delete it, and give the same embed "
            "command again."
        ) from error
