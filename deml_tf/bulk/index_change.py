"""Changes an index: removes and adds images."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from deml_tf.bulk.available_memory import require_memory
from deml_tf.bulk.index_builder import add_rows, rows_writer, write_files
from deml_tf.bulk.index_files import check_files, read_rows, read_vectors
from deml_tf.bulk.index_folder import (
    DESCRIPTION,
    ROWS,
    VECTORS,
    IndexDescription,
    check_replaceable,
    read_description,
)
from deml_tf.bulk.index_lock import locked_index
from deml_tf.bulk.model_id import require_same
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.errors import UsageError
from deml_tf.runs.replaced_folder import replaced_folder

_MEND = "copy it to a disk of this machine, change it there, and copy it back"
_compute: Any = pyarrow.compute  # its functions are created on import


def change_index(
    target: str | os.PathLike[str],
    added: ShardReader | None = None,
    removed: Sequence[str] = (),
) -> IndexDescription:
    """Remove images from an index, add others, and swap the result for the old index.

    Images keep their ids, and ids of removed images are not used again. An ivfpq index
    keeps the centres of its first build.

    Args:
        target: Folder of the index.
        added: Embeddings of the same export.
        removed: Paths as the index has them; every image with such a path is removed.

    Returns:
        What the new index.json says.

    Raises:
        UsageError: The target is not an index, its kind cannot remove rows, a path to
            remove is not in the index, one to add already is, memory is short, or
            another process is changing the index.
        DataError: The embeddings come from other weights, a file is broken, or the
            disk cannot swap two folders.
    """
    target = Path(target)
    with locked_index(target):
        return _change(target, added, removed)


def _change(
    target: Path, added: ShardReader | None, removed: Sequence[str]
) -> IndexDescription:
    named = f"output={target}"
    description = read_description(target / DESCRIPTION, named)
    kind = description.index_kind()
    if removed and not kind.removes:
        raise UsageError(
            f"{named} is of kind {description.kind}, which forgets no image: build it "
            "again of the embeddings that stay, or as flat or ivfpq."
        )
    check_replaceable(target)
    if added:
        require_same(str(added), added.model, named, description.model_id)
    check_files(target / VECTORS, target / ROWS, description, named)
    rows = read_rows(target / ROWS, named)
    gone = _gone(rows, removed, named)
    kept = rows.filter(_compute.invert(gone)) if removed else rows
    if added:
        _refuse_known(kept, added, named)
    count = len(kept) + (added.count if added else 0)
    if not count:
        raise UsageError(f"{named} would hold no image any more: delete the folder.")
    dim = description.embedding_dim
    need = kind.held_bytes(dim, description.count) + rows.nbytes
    if added:  # both are held while the old vectors are copied
        need += kind.held_bytes(dim, count)
    require_memory(description.kind, need)
    with replaced_folder(target, check_replaceable, _MEND) as folder:
        index = read_vectors(target / VECTORS, named)
        if removed:
            index.remove_ids(rows["id"].filter(gone).to_numpy())
        if added:
            kind.reserve(index, count)
        with rows_writer(folder, description, description.next_id) as writer:
            writer.keep(kept)
            if added:
                add_rows(index, kind, added, writer)
        description = replace(description, count=count, next_id=writer.next_id)
        return write_files(index, description, folder)


def _gone(rows: Any, removed: Sequence[str], named: str) -> Any:
    """Return a mask (n,) of the rows to remove."""
    paths = pa.array(removed, pa.string())
    known = _compute.is_in(paths, value_set=rows["path"])
    if not _compute.all(known).as_py() and len(paths):
        first = paths.filter(_compute.invert(known))[0].as_py()
        raise UsageError(
            f"{first!r} is no path in {named}: write paths as its {ROWS} has "
            "them, one a line."
        )
    return _compute.is_in(rows["path"], value_set=paths)


def _refuse_known(rows: Any, added: ShardReader, named: str) -> None:
    paths = added.paths()
    known = paths.filter(_compute.is_in(paths, value_set=rows["path"]))
    if len(known):
        raise UsageError(
            f"{added}: {len(known):,} of its images are in {named} already, such as "
            f"{known[0].as_py()!r}: list them in a file for --remove, which may be "
            "given with --add."
        )
