"""Checks shards before they count as done, and lists their invalid images."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pyarrow import parquet

from deml_tf.bulk.opened_shard import opened_shard
from deml_tf.bulk.shard_format import WEIGHTS, shard_name
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.errors import DataError


def missing_shards(
    output: Path, shards: Iterable[int], plan: ShardPlan, weights_sha256: str
) -> list[int]:
    """Find the shards that are still to be written.

    Args:
        output: Their folder; it may be missing.
        shards: Numbers of the shards that there should be.
        plan: Which images they hold.
        weights_sha256: Hash of the export's weights.

    Returns:
        The numbers of those that are missing.

    Raises:
        DataError: A shard cannot be read, or is not what it should be.
    """
    missing = []
    for number in shards:
        path = output / shard_name(number)
        if not path.exists():
            missing.append(number)
            continue
        with opened_shard(path) as file:
            found = parquet.read_metadata(file)
        rows = len(plan.rows(number))
        weights = (found.metadata or {}).get(WEIGHTS.encode(), b"")
        if found.num_rows != rows or weights != weights_sha256.encode():
            raise DataError(
                f"{path} holds {found.num_rows} images where {rows} belong, or those "
                "of another export: remove it, and give the same command again."
            )
    return missing


def invalid_images(output: Path, shards: Iterable[int]) -> Iterator[tuple[str, str]]:
    """Yield the invalid images of shards.

    Args:
        output: Their folder.
        shards: Their numbers.

    Yields:
        Path and reason of each.

    Raises:
        DataError: A shard cannot be read.
    """
    for number in shards:
        with opened_shard(output / shard_name(number)) as file:
            table = parquet.read_table(
                file, columns=["path", "reason"], filters=[("valid", "=", False)]
            )
            columns = [column.to_pylist() for column in table.columns]
        yield from zip(*columns, strict=True)
