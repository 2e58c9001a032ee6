"""A shard: filled batch by batch, written when it is full."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.served_export import Export
from deml_tf.bulk.shard_format import shard_schema
from deml_tf.bulk.whole_file import write_whole
from deml_tf.cli.printing import decodable


class ShardWriter:
    """The rows of one shard, which are held until it is written.

    Args:
        images: Images of the shard, in order.
        export: The export that embeds them.
    """

    def __init__(self, images: Sequence[ListedImage], export: Export):
        self.images = images
        self.schema = shard_schema(
            export.embedding_dim, export.scales, export.weights_sha256
        )
        self.embedding = np.empty((len(images), export.embedding_dim), np.float32)
        self.boxes = np.empty((len(images), 4 * export.scales), np.float32)
        self.reasons: list[str] = []

    @property
    def full(self) -> bool:
        """Whether every image has its row."""
        return len(self.reasons) == len(self.images)

    def add(
        self, embedding: np.ndarray, boxes: np.ndarray, reasons: Sequence[str]
    ) -> None:
        """Add the rows of the next b images.

        Args:
            embedding: float32 `(b, d)`.
            boxes: float32 `(b, 4 i)`.
            reasons: Why an image is not valid; empty if it is.
        """
        rows = slice(len(self.reasons), len(self.reasons) + len(reasons))
        self.embedding[rows], self.boxes[rows] = embedding, boxes
        self.reasons += reasons

    def write(self, path: Path) -> None:
        """Write the file; the same rows give the same bytes.

        Args:
            path: Path of the shard.
        """
        invalid = np.array([bool(reason) for reason in self.reasons])
        labels = [image.label for image in self.images]
        columns = [
            # The format is UTF-8, which a path need not be.
            [decodable(image.path) for image in self.images],
            [None if label is None else decodable(label) for label in labels],
            ~invalid,
            [decodable(reason) or None for reason in self.reasons],
            _vectors(self.embedding, invalid, self.schema.field("embedding").type),
            _vectors(self.boxes, invalid, self.schema.field("boxes").type),
        ]
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, self.schema, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        # In the other columns values hardly repeat.
        options: Any = {"use_dictionary": ["label", "reason"]}
        write_whole(path, lambda file: parquet.write_table(table, file, **options))


def _vectors(rows: np.ndarray, invalid: np.ndarray, kind: pa.DataType) -> pa.Array:
    values = pa.array(rows.ravel())
    return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=pa.array(invalid))
