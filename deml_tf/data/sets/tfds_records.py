"""Find where the images of TFRecord shards lie, by reading every record once.

A shard is a sequence of records. Each has its length (8 bytes), a checksum of that (4
bytes), a `tf.train.Example`, and a checksum of it (4 bytes). Nothing is compressed, so
the encoded bytes of an image can be read from where they lie.
"""

import io
import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import tensorflow as tf
from PIL import Image

from deml_tf.data.boxes import upright_box
from deml_tf.data.disk_cache import DiskCache, file_state
from deml_tf.data.orientation import header_orientation
from deml_tf.data.regular_files import stat_regular
from deml_tf.errors import DataError

_LENGTH, _CHECKSUM = 8, 4
_VERSION = 3  # of the form in which places are cached


class Images(NamedTuple):
    """The images of some shards, in the order of shards and records.

    Attributes:
        shard: `(n,)`, index of the shard of each image.
        record: `(n,)`, byte of the shard at which its record begins.
        start: `(n,)`, byte of the data of the record at which the image begins.
        length: `(n,)`, length of the image in bytes.
        label: `(n,)`, class number.
        box: `(n, 4)`, box as the set gives it, turned upright with the image; NaN
            where it gives none.
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
    """Find the encoded images in shards, or take their places from the cache.

    The result is cached for these shards as they are (path, size, times) and these
    features.

    Args:
        shards: The files.
        image: Feature that holds the encoded image.
        label: Feature that holds the class number.
        box: Feature that holds the box of the object, four floats.

    Returns:
        Where the images are.

    Raises:
        DataError: A shard cannot be read, is cut short or holds something else.
    """
    try:
        states = [file_state(stat_regular(shard)) for shard in shards]
    except OSError as error:
        raise DataError(
            f"cannot read the shard {error.filename} ({error.strerror}); prepare the "
            "set again"
        ) from error
    paths = [os.path.abspath(shard) for shard in shards]
    key, state = json.dumps([paths, image, label, box]).encode(), " ".join(states)
    with DiskCache(f"tfds-{_VERSION}") as cache:
        known = cache.get(key, state)
        with suppress(ValueError, KeyError, EOFError, BadZipFile):  # damaged on disk
            if known:
                return _unpacked(known)
        images = _find_images(shards, image, label, box)
        cache.put([(key, state, _packed(images))])
    return images


def _find_images(
    shards: Sequence[str], image: str, label: str, box: str | None
) -> Images:
    rows = [
        (n, *found)
        for n, shard in enumerate(shards)
        for found in _images(shard, image, label, box)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(Images._fields)
    shard, record, start, length, numbers, boxes = columns
    return Images(
        np.array(shard, np.int64),
        np.array(record, np.int64),
        np.array(start, np.int64),
        np.array(length, np.int64),
        np.array(numbers, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
    )


def _packed(images: Images) -> bytes:
    content = io.BytesIO()
    np.savez(content, **images._asdict())
    return content.getvalue()


def _unpacked(content: bytes) -> Images:
    with np.load(io.BytesIO(content), allow_pickle=False) as columns:
        return Images(**{name: columns[name] for name in Images._fields})


def _images(
    shard: str, image: str, label: str, box: str | None
) -> Iterator[tuple[int, int, int, int, Sequence[float]]]:
    """Yield record, start, length, class and box of each image of a shard."""
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
        corners = [np.nan] * 4
        if len(cells) == 4:
            ymin, xmin, ymax, xmax = cells
            corners = upright_box((ymin, xmin, ymax, xmax), _orientation(encoded))
        yield place, data.find(encoded), len(encoded), number, corners


def _orientation(encoded: bytes) -> int:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return header_orientation(image)
    except Exception:  # the scan reports it
        return 1


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
