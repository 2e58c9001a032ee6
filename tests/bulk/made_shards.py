"""Folders of embeddings as the format describes them, made by hand."""

import contextlib
import json
from unittest import mock

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from deml_tf.bulk import ivfpq

WEIGHTS = "0123456789abcdef" * 4
OTHER_WEIGHTS = "f" * 64


def clusters(count, dim, seed=0, classes=None, noise=0.5):
    """Rows (n, d) of length 1 around the centres of classes."""
    rng = np.random.default_rng(seed)
    classes = classes or max(1, count // 20)
    centres = rng.standard_normal((classes, dim))
    rows = centres[rng.integers(0, classes, count)]
    rows = rows + noise * rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def paths_of(count, name="image"):
    return [f"/images/{name}{n}.jpg" for n in range(count)]


def labels_of(count):
    """Every third has none."""
    return [None if n % 3 == 2 else f"class {n % 7}" for n in range(count)]


def boxes_of(count, scales=2, seed=0):
    return np.random.default_rng(seed).random((count, 4 * scales), np.float32)


def write_shards(
    folder,
    rows,
    *,
    sizes=None,
    invalid=(),
    name="image",
    weights=WEIGHTS,
    model="birds",
    **changes,
):
    """Writes embeddings.json and shards.

    Args:
        folder: is made.
        rows: (n, d) float32.
        sizes: images of each shard; by default all in one.
        invalid: places of images that could not be read.
        name: what the paths begin with.
        weights: of the export.
        model: its name.
        **changes: of embeddings.json.
    """
    folder.mkdir(parents=True)
    count, dim = rows.shape
    boxes, sizes = boxes_of(count), sizes or [count]
    assert sum(sizes) == count
    valid = np.array([n not in set(invalid) for n in range(count)])
    schema = pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("valid", pa.bool_(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("embedding", pa.list_(pa.float32(), dim)),
            pa.field("boxes", pa.list_(pa.float32(), 8)),
        ],
        metadata={"weights_sha256": weights},
    )

    def listed(numbers, part):
        pairs = zip(numbers[part].tolist(), valid[part], strict=True)
        return [row if fine else None for row, fine in pairs]

    start = 0
    for number, size in enumerate(sizes):
        part = slice(start, start + size)
        columns = [
            paths_of(count, name)[part],
            labels_of(count)[part],
            valid[part].tolist(),
            [None if fine else "truncated" for fine in valid[part]],
            listed(rows, part),
            listed(boxes, part),
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
        table = pa.table(arrays, schema=schema)
        parquet.write_table(table, folder / f"shard_{number:05d}.parquet")
        start += size
    described = {
        "format": 1,
        "model": model,
        "version": 3,
        "weights_sha256": weights,
        "precision": "float32",
        "embedding_dim": dim,
        "scales": 2,
        "threshold": 0.4,
        "preprocessing": {},
        "list_sha256": "0" * 64,
        "images": count,
        "shard_size": max(sizes),
        "batch_size": 8,
        "shards": len(sizes),
    }
    (folder / "embeddings.json").write_text(json.dumps(described | changes))
    return folder


@contextlib.contextmanager
def few_vectors_train():
    """Lets few vectors train an ivfpq index, which FAISS then warns about."""
    least = {"LEAST": 1024, "_LEAST": 4}
    with mock.patch.multiple(ivfpq, **least):
        yield
