"""Where the images of TFRecord shards lie: one look at every record, remembered.

A shard is a row of records, each its length (8 bytes), a checksum of that (4), a
`tf.train.Example`, and a checksum of this (4); nothing is compressed. So an image's
encoded bytes lie in the shard as they are, and can be read from there.
"""

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import platformdirs
import tensorflow as tf

from deml_tf.errors import DataError
from deml_tf.runs.atomic import write_atomically

_LENGTH, _CHECKSUM = 8, 4
_VERSION = 1  # of what is remembered


class Images(NamedTuple):
    """The images of some shards, in the order of shards and records.

    Attributes:
        shard: (n,) which shard each is in.
        record: (n,) byte of the shard at which its record begins.
        start: (n,) byte of the record's data at which the image begins.
        length: (n,) of the image, in bytes.
        label: (n,) class number.
        box: (n, 4) as the set gives it; NaN where it gives none.
    """

    shard: np.ndarray
    record: np.ndarray
    start: np.ndarray
    length: np.ndarray
    label: np.ndarray
    box: np.ndarray


def find_images(
    shards: Sequence[str], image: str, label: str, box: str | None = None
) -> Images:
    """Finds the encoded images in shards, or remembers where they were.

    What is found is kept in the user's cache folder, in one file for these shards as
    they are (path, size, time) and these features. A cache that cannot be written or
    read is done without.

    Args:
        shards: the files.
        image: feature that holds the encoded image.
        label: feature that holds the class number.
        box: feature that holds the object's box, four floats.

    Raises:
        DataError: the shard that cannot be read, is cut short or holds something else.
    """
    try:
        stats = [(os.path.abspath(s), os.stat(s)) for s in shards]
    except OSError as error:
        raise DataError(
            f"cannot read the shard {error.filename} ({error.strerror}); prepare the "
            "set again"
        ) from error
    files = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    key = json.dumps([_VERSION, files, image, label, box]).encode(errors="replace")
    name = f"records-{hashlib.sha256(key).hexdigest()[:32]}.npz"
    cache = Path(platformdirs.user_cache_dir("deml_tf")) / name
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return Images(**{field: kept[field] for field in Images._fields})
    rows = [
        (n, *found)
        for n, shard in enumerate(shards)
        for found in _images(shard, image, label, box)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(Images._fields)
    shard, record, start, length, numbers, boxes = columns
    images = Images(
        np.array(shard, np.int64),
        np.array(record, np.int64),
        np.array(start, np.int64),
        np.array(length, np.int64),
        np.array(numbers, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
    )
    content = io.BytesIO()
    np.savez(content, **images._asdict())
    with suppress(OSError):
        write_atomically(cache, content.getvalue())
    return images


def _images(
    shard: str, image: str, label: str, box: str | None
) -> Iterator[tuple[int, int, int, int, Sequence[float]]]:
    """Record, start, length, class and box of each image of a shard."""
    for place, data in _records(shard):
        try:
            feature = tf.train.Example.FromString(data).features.feature
            (encoded,) = feature[image].bytes_list.value
            (number,) = feature[label].int64_list.value
            cells = feature[box].float_list.value if box else ()
        except Exception as error:  # protobuf's own, and ValueError of the unpacking
            raise DataError(
                f"{shard}, record at byte {place}: not one image {image!r} with one "
                f"class {label!r}; prepare the set again"
            ) from error
        corners = list(cells) if len(cells) == 4 else [np.nan] * 4
        yield place, data.find(encoded), len(encoded), number, corners


def _records(shard: str) -> Iterator[tuple[int, bytes]]:
    place = 0
    with open(shard, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while place < size:
            header = file.read(_LENGTH + _CHECKSUM)
            length = size
            if len(header) == _LENGTH + _CHECKSUM:
                (length,) = struct.unpack_from("<Q", header)
            if place + length + _LENGTH + 2 * _CHECKSUM > size:
                raise DataError(
                    f"{shard}, record at byte {place}: the shard ends before it does; "
                    "it is cut short, or no uncompressed TFRecord file: prepare the "
                    "set again"
                )
            yield place, file.read(length)
            file.seek(_CHECKSUM, os.SEEK_CUR)
            place += _LENGTH + length + 2 * _CHECKSUM
