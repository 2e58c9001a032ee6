"""Opens a shard, and says in one sentence why one cannot be read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from deml_tf.bulk.unreadable import unreadable


@contextlib.contextmanager
def opened_shard(path: Path) -> Iterator[IO[bytes]]:
    """Open a shard; if it cannot be read, say why in one sentence.

    pyarrow gets no path: it takes `a:b` for a URL, and refuses paths not in UTF-8.

    Args:
        path: Path of the shard.

    Yields:
        The file, for pyarrow.

    Raises:
        DataError: It is missing, or damaged where the block read it.
    """
    try:
        with open(path, "rb") as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        mend = "delete it, and give the same embed command again"
        raise unreadable(path, error, mend) from error
