"""Builds an index of embeddings, and changes one."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from deml_tf.bulk.available_memory import available_memory
from deml_tf.bulk.index_folder import (
    ROWS,
    VECTORS,
    IndexDescription,
    RowsWriter,
    check_replaceable,
    read_description,
)
from deml_tf.bulk.index_kind import IndexKind
from deml_tf.bulk.kinds import KINDS
from deml_tf.bulk.model_id import require_same
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.cli.printing import say
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.replaced_folder import replaced_folder

BUFFERS = 150_000_000
"""Bytes beside an index: a shard as it is read, in float32 and in float64."""


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
        target: Folder of the index; an index that is there is replaced at the end.
        kind: Key of `KINDS`.
        parameters: Of that kind; None takes its defaults.

    Returns:
        What index.json says.

    Raises:
        UsageError: The kind does not suit the embeddings or the machine's memory, or
            the target holds something else than an index.
        DataError: A shard is broken.
    """
    target = Path(target)
    chosen = parameters or KINDS[kind]()
    dim, count = shards.embedding_dim, shards.count
    check_replaceable(target)
    chosen.check(dim, count)
    need = chosen.peak_bytes(dim, count)
    _check_memory(kind, need, _smaller_kind(dim, count, need))
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
    with replaced_folder(target) as folder:
        index = chosen.create(dim, count)
        _train(index, chosen, shards)
        with _rows_writer(folder, description, 0) as rows:
            _add(index, chosen, shards, rows)
        return _write(index, description, folder)


def change_index(
    target: str | os.PathLike[str],
    added: ShardReader | None = None,
    removed: Sequence[str] = (),
) -> IndexDescription:
    """Remove images from an index, then add others, and swap it for the old one.

    Ids stay, and those of removed images are not given again. Centres of an ivfpq
    index stay those of the first build.

    Args:
        target: Folder of the index.
        added: Embeddings of the same export.
        removed: Paths as the index has them; every image of such a path is removed.

    Returns:
        What the new index.json says.

    Raises:
        UsageError: The target is no index, its kind forgets no rows, a path is none of
            the index's, or one to add is there already; or memory is short.
        DataError: The embeddings come from other weights, or a file is broken.
    """
    target = Path(target)
    named = f"output={target}"
    description = read_description(target, named)
    kind = description.index_kind()
    if removed and not kind.removes:
        raise UsageError(
            f"{named} is of kind {description.kind}, which forgets no image: build it "
            "again of the embeddings that stay, or as flat or ivfpq."
        )
    check_replaceable(target)
    if added:
        require_same(str(added), added.model, named, description.model_id)
    rows = parquet.read_table(target / ROWS)
    gone = _gone(rows, removed, named)
    kept = rows.filter(pc.invert(gone)) if removed else rows
    if added:
        _refuse_known(kept, added, named)
    count = len(kept) + (added.count if added else 0)
    if not count:
        raise UsageError(f"{named} would hold no image any more: delete the folder.")
    old = kind.peak_bytes(description.embedding_dim, description.count)
    new = kind.peak_bytes(description.embedding_dim, count) if added else 0
    _check_memory(description.kind, old + new)
    with replaced_folder(target) as folder:
        index: Any = faiss.read_index(os.fspath(target / VECTORS))
        if removed:
            index.remove_ids(rows["id"].filter(gone).to_numpy())
        if added:
            kind.reserve(index, count)
        with _rows_writer(folder, description, description.next_id) as writer:
            writer.keep(kept)
            if added:
                _add(index, kind, added, writer)
        description = replace(description, count=count, next_id=writer.next_id)
        return _write(index, description, folder)


def _rows_writer(
    folder: Path, description: IndexDescription, first_id: int
) -> RowsWriter:
    weights = description.weights_sha256
    return RowsWriter(folder, description.scales, weights, first_id)


def _train(index: Any, kind: IndexKind, shards: ShardReader) -> None:
    size = kind.training_size(shards.count)
    if size:
        say(f"Training on {size:,} of {shards.count:,} embeddings ...")
        started = time.monotonic()
        index.train(shards.sample(size, seed=kind.settings()["seed"] or 0))
        say(f"Trained in {time.monotonic() - started:.0f} s.")


def _add(index: Any, kind: IndexKind, shards: ShardReader, rows: RowsWriter) -> None:
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task("indexing", total=shards.count)
        for block in shards.blocks():
            ids = rows.add(block.paths, block.labels, block.boxes)
            kind.add(index, block.embeddings, ids)
            bar.advance(task, len(ids))


def _write(index: Any, description: IndexDescription, folder: Path) -> IndexDescription:
    if index.ntotal != description.count:
        raise DataError(
            f"the index holds {index.ntotal:,} vectors of {description.count:,}: its "
            "folder has changed meanwhile, so give the same command again."
        )
    vectors = folder / VECTORS
    faiss.write_index(index, os.fspath(vectors))
    description = replace(description, bytes=vectors.stat().st_size)
    description.write(folder)
    return description


def _check_memory(kind: str, need: int, smaller: str | None = None) -> None:
    """Say how much memory it will take, or that there is not so much."""
    need += BUFFERS
    there = available_memory()
    says = f"about {need / 1e9:.2g} GB of memory"
    if there is None:
        say(f"An index of kind {kind}: {says}.")
        return
    say(f"An index of kind {kind}: {says}, of {there / 1e9:.2g} GB available.")
    if need > there:
        mend = f"give kind={smaller}, or use" if smaller else "use"
        raise UsageError(
            f"kind={kind} takes {says}, and {there / 1e9:.2g} GB are available: {mend} "
            "a machine with more."
        )


def _smaller_kind(dim: int, count: int, need: int) -> str | None:
    """Return the kind that takes the least memory, if it takes less than another."""
    sizes = {}
    for name, kind in KINDS.items():
        try:
            kind().check(dim, count)
        except UsageError:
            continue
        sizes[name] = kind().peak_bytes(dim, count)
    least = min(sizes, key=lambda name: sizes[name])
    return least if sizes[least] < need else None


def _gone(rows: Any, removed: Sequence[str], named: str) -> Any:
    """Return a mask (n,) of the rows to remove."""
    paths = pa.array(removed, pa.string())
    known = pc.is_in(paths, value_set=rows["path"])
    if not pc.all(known).as_py() and len(paths):
        first = paths.filter(pc.invert(known))[0].as_py()
        raise UsageError(
            f"remove: {first!r} is no path in {named}: write paths as its {ROWS} has "
            "them, one a line."
        )
    return pc.is_in(rows["path"], value_set=paths)


def _refuse_known(rows: Any, added: ShardReader, named: str) -> None:
    paths = added.paths()
    known = paths.filter(pc.is_in(paths, value_set=rows["path"]))
    if len(known):
        raise UsageError(
            f"{added}: {len(known):,} of its images are in {named} already, such as "
            f"{known[0].as_py()!r}: list them in a file for --remove, which may be "
            "given with --add."
        )
