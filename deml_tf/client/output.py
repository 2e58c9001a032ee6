"""The output file: npz, jsonl or parquet, by its ending."""

import io
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

from deml_tf.client.answers import Answer, Embeddings, stack
from deml_tf.errors import UsageError
from deml_tf.runs.atomic import check_output, write_atomically


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse, before long work, a file that cannot be written.

    Args:
        path: Path of the output.

    Raises:
        UsageError: It has another ending, or nothing can be written there.
    """
    suffix = Path(path).suffix
    if suffix not in _FORMATS:
        raise UsageError(f"output={path}: end it in {' or '.join(_FORMATS)}.")
    check_output("output", path)


def write_embeddings(
    path: str | os.PathLike[str],
    names: Sequence[str | os.PathLike[str]],
    embeddings: Embeddings,
    version: int,
) -> None:
    """Write a row for each image: path, valid, embedding, boxes, reason, version.

    Args:
        path: The file, which is replaced as a whole.
        names: The images' paths, n of them.
        embeddings: The answers to the n images.
        version: The model's version.
    """
    # The formats are UTF-8, which a path need not be.
    shown = [os.fsencode(name).decode(errors="backslashreplace") for name in names]
    write_atomically(path, _FORMATS[Path(path).suffix](shown, embeddings, version))


def write_partial(
    path: Path,
    names: Sequence[Path],
    answers: Mapping[int, Answer],
    version: int,
) -> str:
    """Write the answers received before a failure, beside those of earlier failures.

    Args:
        path: Path of the output, which is left as it is.
        names: The paths of all images.
        answers: The answers received, by index.
        version: The model's version.

    Returns:
        The end of a sentence that says what was kept.
    """
    if not answers:
        return "; nothing was received"
    ends = itertools.chain([""], itertools.count(2))
    places = (path.with_name(f"{path.stem}.partial{n}{path.suffix}") for n in ends)
    partial = next(place for place in places if not os.path.lexists(place))
    known = sorted(answers)
    received = stack([answers[n] for n in known])
    write_embeddings(partial, [names[n] for n in known], received, version)
    return f"; {len(known)} of {len(names)} images were received and are in {partial}"


def _npz(names: list[str], embeddings: Embeddings, version: int) -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        path=np.array(names, dtype=np.str_),
        valid=embeddings.valid,
        embedding=embeddings.embedding,
        boxes=embeddings.boxes,
        reason=np.array(embeddings.reasons, dtype=np.str_),
        version=np.full(len(names), version),
    )
    return file.getvalue()


def _jsonl(names: list[str], embeddings: Embeddings, version: int) -> bytes:
    file = io.BytesIO()  # row by row: Python's numbers of all rows take much memory
    for n, name in enumerate(names):
        row = {
            "path": name,
            "valid": bool(embeddings.valid[n]),
            "embedding": embeddings.embedding[n].tolist(),
            "boxes": embeddings.boxes[n].tolist(),
            "reason": embeddings.reasons[n],
            "version": version,
        }
        file.write(f"{json.dumps(row)}\n".encode())
    return file.getvalue()


def _parquet(names: list[str], embeddings: Embeddings, version: int) -> bytes:
    count, size = embeddings.embedding.shape
    boxes = embeddings.boxes.shape[1]

    def rows(array: Any, kind: Any, width: int) -> Any:
        # Fixed-size lists: readers get a matrix, not n arrays that may differ.
        return pyarrow.FixedSizeListArray.from_arrays(
            array, type=pyarrow.list_(kind, width)
        )

    number = pyarrow.float32()
    corners = rows(pyarrow.array(embeddings.boxes.ravel(), number), number, 4)
    flat = pyarrow.array(embeddings.embedding.ravel(), number)
    columns = {
        "path": pyarrow.array(names, pyarrow.string()),
        "valid": pyarrow.array(embeddings.valid),
        "reason": pyarrow.array(embeddings.reasons, pyarrow.string()),
        "version": pyarrow.array([version] * count, pyarrow.int64()),
    }
    if count and size:
        columns["embedding"] = rows(flat, number, size)
        columns["boxes"] = rows(corners, corners.type, boxes)
    else:  # no answer tells how long they are
        empty = pyarrow.array([[]] * count, pyarrow.list_(number))
        columns |= {"embedding": empty, "boxes": empty.cast(pyarrow.list_(number))}
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


_FORMATS = {".npz": _npz, ".jsonl": _jsonl, ".parquet": _parquet}
