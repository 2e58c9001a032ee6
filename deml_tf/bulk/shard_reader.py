"""Reads a folder of embeddings, a block of rows at a time."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from deml_tf.bulk.model_id import ModelId
from deml_tf.bulk.opened_shard import opened_shard
from deml_tf.bulk.shard_format import (
    DESCRIPTION,
    FORMAT,
    KEYS,
    WEIGHTS,
    shard_name,
    shard_schema,
)
from deml_tf.errors import DataError, UsageError
from deml_tf.retrieval.inputs import check_rows, unit_rows_float32

ROWS = 1024  # in a block, at most
_MOST = {"embedding_dim": 10**6, "scales": 10**6, "shards": 10**8, "version": math.inf}


class Block(NamedTuple):
    """Some rows of a shard, all of them valid.

    Attributes:
        paths: (b,) Arrow strings.
        labels: (b,) Arrow strings, null where there is none.
        embeddings: (b, d) float32, of length 1.
        boxes: (b,) Arrow lists of 4 i float32.
    """

    paths: Any
    labels: Any
    embeddings: np.ndarray
    boxes: Any


class ShardReader:
    """Reads what `python -m deml_tf.embed` has written, a block at a time.

    Args:
        folder: Holds embeddings.json and the shards.
        argument: Name of the argument that gives the folder, for error messages.

    Attributes:
        description: What embeddings.json says.
        model: Which export the embeddings come from.
        embedding_dim: Length of an embedding, d.
        scales: Number of scales, i.
        count: Number of valid rows in all shards.

    Raises:
        UsageError: The folder holds no embeddings.
        DataError: Shards are missing or not as described, or no row is valid.
    """

    def __init__(
        self, folder: str | os.PathLike[str], argument: str = "embeddings"
    ) -> None:
        """Read the description, and the column `valid` of every shard."""
        self.folder = Path(folder)
        self._named = f"{argument}={os.fspath(folder)}"
        self.description = self._read_description()
        described = self.description
        self.model = ModelId(
            described["model"], described["version"], described[WEIGHTS]
        )
        self.embedding_dim: int = described["embedding_dim"]
        self.scales: int = described["scales"]
        self._schema = shard_schema(self.embedding_dim, self.scales, described[WEIGHTS])
        self._paths = self._find_shards(described["shards"])
        self._check_shards()
        self.count = sum(self._valid_rows(path) for path in self._paths)
        if not self.count:
            raise DataError(
                f"{self._named} holds no valid image: see the column reason of "
                f"{shard_name(0)}."
            )

    def __str__(self) -> str:
        """Return the argument with its value."""
        return self._named

    def blocks(self) -> Iterator[Block]:
        """Yield the valid rows in order.

        Raises:
            DataError: A row says that it is valid but has no embedding.
        """
        columns = ["path", "label", "valid", "embedding", "boxes"]
        for path in self._paths:
            with opened_shard(path) as file, parquet.ParquetFile(file) as shard:
                for batch in shard.iter_batches(ROWS, columns=columns):
                    kept = batch.filter(batch["valid"])
                    if kept.num_rows:
                        yield self._block(path, kept)

    def paths(self) -> Any:
        """Return the paths of all valid rows as one Arrow array of n strings."""
        tables = [_columns(path, "path", "valid") for path in self._paths]
        table = pa.concat_tables(tables)
        return table.filter(table["valid"])["path"]

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Draw embeddings at random, each at most once.

        Args:
            count: How many; all, if there are fewer.
            seed: Seed of the choice.

        Returns:
            (s, d) float32 of length 1, in the order of the rows.
        """
        count = min(count, self.count)
        chosen = np.random.default_rng(seed).choice(self.count, count, replace=False)
        chosen.sort()
        drawn = np.empty((count, self.embedding_dim), np.float32)
        row = filled = 0
        for block in self.blocks():
            after = row + len(block.embeddings)
            stop = int(np.searchsorted(chosen, after))
            drawn[filled:stop] = block.embeddings[chosen[filled:stop] - row]
            row, filled = after, stop
        return drawn

    def _read_description(self) -> dict[str, Any]:
        path = self.folder / DESCRIPTION
        mend = "name a folder that python -m deml_tf.embed has written."
        try:
            described = json.loads(path.read_bytes())
        except OSError as error:
            raise UsageError(
                f"{self._named}: {path} cannot be read ({error.strerror}): {mend}"
            ) from error
        except ValueError as error:
            raise DataError(f"{path} is no JSON ({error}): {mend}") from error
        missing = [
            key
            for key in KEYS
            if not isinstance(described, dict) or key not in described
        ]
        if missing:
            raise DataError(f"{path} lacks {missing[0]!r}: {mend}")
        if described["format"] != FORMAT:
            raise DataError(
                f"{path} is of format {described['format']!r}, and this version reads "
                f"{FORMAT}: embed the images again."
            )
        for key, most in _MOST.items():
            value = described[key]
            if not isinstance(value, int) or not 1 <= value <= most:
                raise DataError(f"{path} says {key}={value!r}: {mend}")
        return described

    def _find_shards(self, count: int) -> list[Path]:
        paths = []
        for name in map(shard_name, range(count)):
            paths.append(self.folder / name)
            if not paths[-1].is_file():
                raise DataError(
                    f"{self._named} lacks {name}, one of {count} shards: give the "
                    "same embed command again, which writes the missing ones."
                )
        return paths

    def _check_shards(self) -> None:
        for path in self._paths:
            with opened_shard(path) as file:
                found = parquet.read_schema(file)
            weights = (found.metadata or {}).get(WEIGHTS.encode(), b"").decode()
            if weights != self.model.weights_sha256:
                raise DataError(
                    f"{path} holds embeddings of the weights {weights[:12] or 'none'}, "
                    f"and {DESCRIPTION} speaks of {self.model}: embed the images "
                    "again, into an empty folder."
                )
            for field in self._schema:
                position = found.get_field_index(field.name)
                kind = found.field(position).type if position >= 0 else "missing"
                if not _alike(kind, field.type):
                    raise DataError(
                        f"{path}: the column {field.name!r} is {kind}, not "
                        f"{field.type}: embed the images again, into an empty folder."
                    )

    def _valid_rows(self, path: Path) -> int:
        valid = _columns(path, "valid")["valid"]
        return sum(int(chunk.true_count) for chunk in valid.chunks)

    def _block(self, path: Path, batch: Any) -> Block:
        for name in ("path", "embedding", "boxes"):
            if batch[name].null_count:
                raise DataError(
                    f"{path}: {batch[name].null_count} rows are valid and have no "
                    f"{name}: embed the images again, into an empty folder."
                )
        flat = batch["embedding"].flatten().to_numpy(zero_copy_only=False)
        embeddings = check_rows(flat.reshape(-1, self.embedding_dim), str(path))
        unit = unit_rows_float32(embeddings)
        return Block(batch["path"], batch["label"], unit, batch["boxes"])


def _alike(found: Any, expected: Any) -> bool:
    """Compare types, but not the names that writers give to elements of lists."""
    if not isinstance(found, pa.FixedSizeListType):
        return found == expected
    return (
        isinstance(expected, pa.FixedSizeListType)
        and found.list_size == expected.list_size
        and found.value_type == expected.value_type
    )


def _columns(path: Path, *names: str) -> Any:
    with opened_shard(path) as file:
        return parquet.read_table(file, columns=list(names))
