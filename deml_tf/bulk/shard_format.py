"""What a folder of embeddings holds: a description, and shards in Parquet.

`embeddings.json` describes all shards. `shard_00000.parquet` and so on hold
`shard_size` images each, the last one what remains, in the order of the list. A shard
gets its name when it is complete.
"""

import re

import pyarrow as pa

FORMAT = 1
DESCRIPTION = "embeddings.json"
WEIGHTS = "weights_sha256"
"""Key in the description, and in the metadata of each shard's schema."""

KEYS = (
    "format",  # FORMAT
    "model",  # the export's name
    "version",  # and its version, a whole number
    WEIGHTS,
    "precision",  # of the export: float32 or bfloat16
    "embedding_dim",  # d
    "scales",  # i
    "threshold",  # cosine below which an image is unknown, or null
    "preprocessing",  # as the export's deml.json says
    "list_sha256",  # of all paths and labels in their order
    "images",  # n
    "shard_size",
    "batch_size",
    "shards",  # k
)
"""The keys of the description, in order."""


def shard_name(number: int) -> str:
    """Return the file name of a shard.

    Args:
        number: From 0.
    """
    return f"shard_{number:05d}.parquet"


def shard_number(name: str) -> int | None:
    """Return the number of a shard, or None if the name is not a shard's.

    Args:
        name: Name of a file, without its folder.
    """
    found = re.fullmatch(r"shard_(\d{5,})\.parquet", name)
    return int(found[1]) if found else None


def shard_schema(embedding_dim: int, scales: int, weights_sha256: str) -> pa.Schema:
    """Return the schema of a shard.

    Columns: `path` (absolute), `label` (null where the image has none), `valid`,
    `reason` (why it is not valid, else null), `embedding` (`d` float32, of length one)
    and `boxes` (`4 i` float32: ymin, xmin, ymax, xmax of each scale in turn, relative
    to the upright image); both null where the image is not valid.

    Args:
        embedding_dim: Length of an embedding, d.
        scales: Number of scales, i.
        weights_sha256: Hash of the export's weights, for the schema's metadata.
    """
    number = pa.field("element", pa.float32())  # Parquet's name for it
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("valid", pa.bool_(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("embedding", pa.list_(number, embedding_dim)),
            pa.field("boxes", pa.list_(number, 4 * scales)),
        ],
        metadata={WEIGHTS: weights_sha256},
    )
