"""What a folder of an index holds, and how it is read and written.

`index.faiss` is written by FAISS and knows the images by their ids. `rows.parquet` has
a row for each image (id, path, label and boxes), in the order of the ids. `index.json`
describes both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from deml_tf.bulk.index_kind import IndexKind
from deml_tf.bulk.kinds import KINDS
from deml_tf.bulk.model_id import ModelId
from deml_tf.bulk.shard_format import WEIGHTS
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.atomic import check_output_folder
from deml_tf.runs.json_text import json_text

FORMAT = 1
VECTORS, ROWS, DESCRIPTION = "index.faiss", "rows.parquet", "index.json"
NAMES = frozenset({VECTORS, ROWS, DESCRIPTION})
_GROUP = 2**16  # rows that are written at a time


@dataclass(frozen=True)
class IndexDescription:
    """What index.json says.

    Attributes:
        kind: Key of `KINDS`.
        settings: Arguments of the kind's constructor.
        model: Name of the export.
        version: Version of the export.
        weights_sha256: Hash of the export's weights.
        embedding_dim: Length of an embedding, d.
        scales: Number of scales, i.
        threshold: Cosine below which the nearest image means "unknown", or None.
        count: Number of images, n.
        next_id: Id of the next image; greater than every id given before.
        bytes: Size of index.faiss, since FAISS maps a truncated file without an error.
        sha256: Hash of both other files, by `hash_files`; empty if an older version
            wrote the index.
        format: `FORMAT`.
    """

    kind: str
    settings: Mapping[str, int | None]
    model: str
    version: int
    weights_sha256: str
    embedding_dim: int
    scales: int
    threshold: float | None
    count: int
    next_id: int
    bytes: int = 0
    sha256: str = ""
    format: int = FORMAT

    @property
    def model_id(self) -> ModelId:
        """Return which export the embeddings come from."""
        return ModelId(self.model, self.version, self.weights_sha256)

    def index_kind(self) -> IndexKind:
        """Return the kind with its parameters."""
        return KINDS[self.kind](**self.settings)

    def write(self, folder: Path) -> None:
        """Write index.json.

        Args:
            folder: Folder of the index.
        """
        text = json_text(asdict(self), indent=2) + "\n"
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def read_description(path: Path, named: str) -> IndexDescription:
    """Read index.json.

    Args:
        path: The file.
        named: What an error message calls the folder.

    Raises:
        UsageError: It cannot be read.
        DataError: It is not what `python -m deml_tf.index` writes.
    """
    mend = "name a folder that python -m deml_tf.index has written."
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{named} is no index, for its {DESCRIPTION} cannot be read "
            f"({error.strerror}): {mend}"
        ) from error
    try:
        described = json.loads(text)
        if described["format"] != FORMAT:
            raise DataError(
                f"{named} is of format {described['format']!r}, and this version reads "
                f"{FORMAT}: build it again."
            )
        found = IndexDescription(**described)
        found.index_kind()
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{named}: its {DESCRIPTION} is not what this command writes "
            f"({type(error).__name__}: {error}): {mend}"
        ) from error
    return found


def check_replaceable(target: Path) -> None:
    """Refuse, before long work, to replace anything but an index.

    Args:
        target: Where an index will be.

    Raises:
        UsageError: Something else is there, or the folder cannot be written.
    """
    if target.is_dir():
        others = sorted({entry.name for entry in target.iterdir()} - NAMES)
        if others:
            raise UsageError(
                f"output={target} holds {others[0]}, which is no part of an index: "
                "name an empty or a new folder."
            )
    check_output_folder("output", target)


class RowsWriter:
    """Writes rows.parquet, some rows at a time.

    Args:
        folder: Folder of the index.
        scales: Number of scales, i.
        weights_sha256: Hash of the export's weights.
        first_id: Id of the first row that is added; default 0.

    Attributes:
        next_id: Id of the next row that is added.
    """

    def __init__(
        self, folder: Path, scales: int, weights_sha256: str, first_id: int = 0
    ):
        self.next_id = first_id
        number = pa.field("element", pa.float32())  # Parquet's name for it
        self._schema = pa.schema(
            [
                pa.field("id", pa.int64(), nullable=False),
                pa.field("path", pa.string(), nullable=False),
                pa.field("label", pa.string()),
                pa.field("boxes", pa.list_(number, 4 * scales)),
            ],
            metadata={WEIGHTS: weights_sha256},
        )
        self._bytes = open(folder / ROWS, "wb")  # pyarrow refuses some paths
        self._file = parquet.ParquetWriter(self._bytes, self._schema)
        self._waiting: list[Any] = []

    def __enter__(self) -> "RowsWriter":
        """Return itself."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Write what is left."""
        with self._bytes:
            if raised[0] is None:
                self._flush()
            self._file.close()

    def add(self, paths: Any, labels: Any, boxes: Any) -> Any:
        """Add rows, and give them ids.

        Args:
            paths: (b,) Arrow strings.
            labels: (b,) Arrow strings.
            boxes: (b,) Arrow lists.

        Returns:
            The ids (b,) int64.
        """
        ids = pa.array(range(self.next_id, self.next_id + len(paths)), pa.int64())
        self.next_id += len(paths)
        self._waiting.append(pa.table([ids, paths, labels, boxes], schema=self._schema))
        if sum(map(len, self._waiting)) >= _GROUP:
            self._flush()
        return ids.to_numpy()

    def keep(self, rows: Any) -> None:
        """Add rows of an older table, with their ids.

        Args:
            rows: An Arrow table.
        """
        self._waiting.append(rows.cast(self._schema))

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._file.write_table(table, row_group_size=_GROUP)
            self._waiting = []
