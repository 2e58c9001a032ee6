"""Reads the rows and the vectors of an index, writes the vectors, and checks both.

pyarrow and FAISS get files that Python has opened, not paths: pyarrow takes `a:b` for a
URL, and neither accepts a path that is not UTF-8.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import pyarrow as pa
from pyarrow import parquet

from deml_tf.bulk.index_folder import VECTORS, IndexDescription
from deml_tf.bulk.shard_format import WEIGHTS
from deml_tf.bulk.unreadable import unreadable
from deml_tf.errors import DataError

_BLOCKS, _BLOCK = 16, 2**18  # of index.faiss that are hashed, and bytes of each


def read_rows(path: Path, named: str) -> Any:
    """Read rows.parquet.

    Args:
        path: The file.
        named: What an error message calls the index.

    Returns:
        An Arrow table.

    Raises:
        DataError: It is missing or broken.
    """
    with _explained(named), open(path, "rb") as file:
        return parquet.read_table(file)


def read_vectors(path: Path, named: str, flags: int = 0) -> Any:
    """Read index.faiss.

    Args:
        path: The file.
        named: What an error message calls the index.
        flags: Flags of `faiss.read_index`; 0, the default, reads all into memory.

    Returns:
        The FAISS index.

    Raises:
        DataError: It is missing or broken.
    """
    with _explained(named), open(path, "rb") as file:
        return faiss.read_index(f"/proc/self/fd/{file.fileno()}", flags)


def write_vectors(index: Any, path: Path) -> int:
    """Write index.faiss, and append the hash of what FAISS wrote.

    Args:
        index: The FAISS index.
        path: The file.

    Returns:
        The size of the file in bytes.

    Raises:
        OSError: The disk is full, for example.
    """
    digest = hashlib.sha256()
    with open(path, "wb") as file:

        def write(block: bytes) -> int:
            digest.update(block)
            return file.write(block)

        # FAISS's own writer reports no error if its last bytes cannot be written.
        writer = faiss.PyCallbackIOWriter(write, 2**20)  # pyright: ignore[reportAttributeAccessIssue]
        faiss.write_index(index, writer)
        file.write(digest.digest())
        file.flush()
        return os.fstat(file.fileno()).st_size


def hash_files(vectors: Path, rows: Path) -> str:
    """Hash what tells two indexes apart, without reading all vectors.

    Args:
        vectors: index.faiss; some blocks and the hash at its end are read.
        rows: rows.parquet.

    Returns:
        SHA-256 in hexadecimal digits.
    """
    with open(rows, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    with open(vectors, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        places = range(0, size, max(size // _BLOCKS, _BLOCK))
        for place in (*places, max(0, size - digest.digest_size)):
            file.seek(place)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def check_files(
    vectors: Path, rows: Path, description: IndexDescription, named: str
) -> None:
    """Refuse files that are cut off, or that belong to two indexes.

    Args:
        vectors: index.faiss.
        rows: rows.parquet.
        description: What index.json says.
        named: What an error message calls the index.

    Raises:
        DataError: The files are such, or cannot be read.
    """
    with _explained(named):
        found = vectors.stat().st_size
        if found != description.bytes:
            raise DataError(
                f"{named}: its {VECTORS} has {found:,} bytes of "
                f"{description.bytes:,}: copy it anew, or build it again."
            )
        with open(rows, "rb") as file:
            metadata = parquet.read_schema(file).metadata or {}
        same = metadata.get(WEIGHTS.encode()) == description.weights_sha256.encode()
        if description.sha256:  # older versions wrote none
            same = same and hash_files(vectors, rows) == description.sha256
    if not same:
        raise DataError(
            f"{named}: its files are not of one index: copy it anew, or build it again."
        )


@contextlib.contextmanager
def _explained(named: str) -> Iterator[None]:
    """Turn an error from a file of an index into one sentence."""
    try:
        yield
    except (OSError, RuntimeError, pa.ArrowException) as error:
        raise unreadable(named, error, "build it again") from error
