"""Embed images, shard by shard."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.progress import EmbeddingProgress
from deml_tf.bulk.read_ahead import Content, reading
from deml_tf.bulk.served_export import Embedded, ServedExport
from deml_tf.bulk.shard_format import shard_name
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.bulk.shard_writer import ShardWriter
from deml_tf.data.image_files import read_image_file
from deml_tf.data.scan import why_bad
from deml_tf.errors import DataError

_UNSOUND = "the embedding is not of length one"
_REFUSED = "the export does not take it"


def embed_shards(
    served: ServedExport,
    images: Sequence[ListedImage],
    plan: ShardPlan,
    shards: Sequence[int],
    output: Path,
    progress: EmbeddingProgress,
) -> None:
    """Embed the images of shards, and write each shard when it is full.

    An image that cannot be read is replaced by an empty one, not left out, so that the
    others keep their places in the batch and their embeddings do not change in the last
    bits. But if the last image that could be read no longer can, the disk is taken to
    be gone, and the shard is not written.

    Args:
        served: The export.
        images: All images, of these and of other shards.
        plan: Which image is in which shard.
        shards: Numbers of the shards to write, ascending.
        output: Their folder.
        progress: Updated after each batch and shard.

    Raises:
        DataError: An image that was read before cannot be read any more.
    """
    sound = None  # the last image that could be read
    paths = ([images[n].path for n in rows] for rows in plan.batches(shards))
    with reading(paths) as contents:
        for number in shards:
            rows = plan.rows(number)
            own, read = images[rows.start : rows.stop], []
            shard = ShardWriter(own, served.export)
            while not shard.full:
                batch = next(contents)
                read += [not content.reason for content in batch]
                found = served([content.encoded for content in batch])
                shard.add(found.embedding, found.boxes, reasons(batch, found))
                progress.advance(len(batch))
            good = [one.path for one, whole in zip(own, read, strict=True) if whole]
            sound = good[-1] if good else sound
            if sound and len(good) < len(own):
                _require_readable(sound)
            shard.write(output / shard_name(number))
            progress.finish(shard_name(number))


def _require_readable(path: str) -> None:
    """Refuse to continue if an image that was read before is gone."""
    try:
        read_image_file(path)
    except OSError as error:
        raise DataError(
            f"{path}, which was read before, cannot be read any more "
            f"({error.strerror or error}): see that the disk of the images is there, "
            "and give the same command again to go on."
        ) from error


def reasons(contents: Sequence[Content], found: Embedded) -> list[str]:
    """Say why images are not valid.

    Args:
        contents: The contents of b files.
        found: What the export returned for them.

    Returns:
        b reasons, empty where an image is valid.
    """
    lengths = np.linalg.norm(found.embedding.astype(np.float64), axis=1)
    unit = abs(lengths - 1) < 0.01  # false for NaN too
    return [
        content.reason or _reason(content.encoded, valid, sound)
        for content, valid, sound in zip(contents, found.valid, unit, strict=True)
    ]


def _reason(encoded: bytes, valid: bool, sound: bool) -> str:
    if not valid:
        return why_bad(encoded) or _REFUSED
    return "" if sound else _UNSOUND
