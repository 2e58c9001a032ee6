"""Builds an index of embeddings."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from deml_tf.bulk.available_memory import require_memory
from deml_tf.bulk.index_files import hash_files, write_vectors
from deml_tf.bulk.index_folder import (
    ROWS,
    VECTORS,
    IndexDescription,
    RowsWriter,
    check_replaceable,
)
from deml_tf.bulk.index_kind import IndexKind
from deml_tf.bulk.index_lock import locked_index
from deml_tf.bulk.kinds import KINDS
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.cli.printing import say
from deml_tf.cli.progress import track
from deml_tf.errors import DataError, UsageError, arguments_of
from deml_tf.runs.replaced_folder import replaced_folder


def build_index(
    shards: ShardReader,
    target: str | os.PathLike[str],
    kind: str,
    parameters: IndexKind | None = None,
) -> IndexDescription:
    """Build an index of all valid rows.

    The ids are 0 to n - 1, in the order of the shards. With one thread
    (OMP_NUM_THREADS=1) two builds give the same bytes.

    Args:
        shards: The embeddings.
        target: Folder of the index; an existing index is replaced at the end.
        kind: Key of `KINDS`.
        parameters: Parameters of that kind; None takes its defaults.

    Returns:
        What index.json says.

    Raises:
        UsageError: The kind does not suit the embeddings or the machine's memory, or
            the target holds something other than an index, or another process is
            changing it.
        DataError: A shard is broken.
    """
    target = Path(target)
    chosen = parameters or KINDS[kind]()
    dim, count = shards.embedding_dim, shards.count
    check_replaceable(target)
    with arguments_of(kind, chosen.settings()):
        chosen.check(dim, count)
    need = chosen.build_bytes(dim, count)
    require_memory(kind, need, _smaller_kind(dim, count, need))
    description = IndexDescription(
        kind,
        chosen.settings(),
        *shards.model,
        dim,
        shards.scales,
        shards.description["threshold"],
        count,
        next_id=count,
    )
    with locked_index(target), replaced_folder(target, check_replaceable) as folder:
        index = chosen.create(dim, count)
        _train(index, chosen, shards)
        with rows_writer(folder, description, 0) as rows:
            add_rows(index, chosen, shards, rows)
        return write_files(index, description, folder)


def rows_writer(
    folder: Path, description: IndexDescription, first_id: int
) -> RowsWriter:
    """Start writing rows.parquet.

    Args:
        folder: Folder of the index.
        description: What index.json will say.
        first_id: Id of the first row that is added.
    """
    weights = description.weights_sha256
    return RowsWriter(folder, description.scales, weights, first_id)


def _train(index: Any, kind: IndexKind, shards: ShardReader) -> None:
    size = kind.training_size(shards.count)
    if size:
        say(f"Training on {size:,} of {shards.count:,} embeddings ...")
        started = time.monotonic()
        index.train(shards.sample(size, seed=kind.settings()["seed"] or 0))
        say(f"Trained in {time.monotonic() - started:.0f} s.")


def add_rows(
    index: Any, kind: IndexKind, shards: ShardReader, rows: RowsWriter
) -> None:
    """Add all valid rows of shards, with a progress bar.

    Args:
        index: The FAISS index.
        kind: Its kind.
        shards: The embeddings.
        rows: Assigns the ids, and writes everything but the embeddings.
    """
    for block in track(
        shards.blocks(), "indexing", shards.count, size=lambda block: len(block.paths)
    ):
        ids = rows.add(block.paths, block.labels, block.boxes)
        kind.add(index, block.embeddings, ids)


def write_files(
    index: Any, description: IndexDescription, folder: Path
) -> IndexDescription:
    """Write index.faiss and index.json.

    Args:
        index: The FAISS index.
        description: What index.json says, without the bytes and the hash.
        folder: Folder of the index, with a complete rows.parquet.

    Returns:
        The description with both.

    Raises:
        DataError: The index holds another number of vectors than described.
    """
    if index.ntotal != description.count:
        raise DataError(
            f"the index holds {index.ntotal:,} vectors of {description.count:,}: its "
            "folder has changed meanwhile, so give the same command again."
        )
    size = write_vectors(index, folder / VECTORS)
    sha256 = hash_files(folder / VECTORS, folder / ROWS)
    description = replace(description, bytes=size, sha256=sha256)
    description.write(folder)
    return description


def _smaller_kind(dim: int, count: int, need: int) -> str | None:
    """Return the kind that takes the least memory, if that is less than `need`."""
    sizes = {}
    for name, kind in KINDS.items():
        try:
            kind().check(dim, count)
        except UsageError:
            continue
        sizes[name] = kind().build_bytes(dim, count)
    least = min(sizes, key=lambda name: sizes[name])
    return least if sizes[least] < need else None
