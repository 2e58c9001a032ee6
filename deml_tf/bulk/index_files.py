"""Reads the rows and the vectors of an index, and writes the vectors.

Libraries get files that Python has opened. Of paths, pyarrow takes `a:b` for an address
of the net, and neither pyarrow nor FAISS takes one that is no UTF-8.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import pyarrow as pa
from pyarrow import parquet

from deml_tf.bulk.index_folder import VECTORS
from deml_tf.bulk.unreadable import unreadable
from deml_tf.errors import DataError


def read_rows(path: Path, named: str) -> Any:
    """Read rows.parquet.

    Args:
        path: The file.
        named: What a message calls the index.

    Returns:
        An Arrow table.

    Raises:
        DataError: It is missing or broken.
    """
    with _explained(named), open(path, "rb") as file:
        return parquet.read_table(file)


def read_vectors(path: Path, size: int, named: str, flags: int = 0) -> Any:
    """Read index.faiss.

    Args:
        path: The file.
        size: Its bytes, as index.json has them.
        named: What a message calls the index.
        flags: Of `faiss.read_index`; 0 reads all of it into memory.

    Returns:
        The FAISS index.

    Raises:
        DataError: It is missing, broken, or of another size.
    """
    with _explained(named), open(path, "rb") as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            raise DataError(
                f"{named}: its {VECTORS} has {found:,} bytes of {size:,}: copy it "
                "anew, or build it again."
            )
        return faiss.read_index(f"/proc/self/fd/{file.fileno()}", flags)


def write_vectors(index: Any, path: Path) -> int:
    """Write index.faiss.

    Args:
        index: The FAISS index.
        path: The file.

    Returns:
        Its bytes.

    Raises:
        OSError: The disk is full, say.
    """
    with open(path, "wb") as file:
        # FAISS's own writer says nothing where its last bytes cannot be written.
        writer = faiss.PyCallbackIOWriter(file.write, 2**20)  # pyright: ignore[reportAttributeAccessIssue]
        faiss.write_index(index, writer)
        file.flush()
        return os.fstat(file.fileno()).st_size


@contextlib.contextmanager
def _explained(named: str) -> Iterator[None]:
    """Say in one sentence that a file of an index cannot be read."""
    try:
        yield
    except (OSError, RuntimeError, pa.ArrowException) as error:
        raise unreadable(named, error, "build it again") from error
