"""Read the bytes of an image from its own file, or from inside a TFRecord shard.

Images in a shard are read in place. The path of such an image is
`SHARD@RECORD:START+LENGTH`: its record begins at byte RECORD of the shard, and the
image is LENGTH bytes from byte START of the data of that record.
"""

import errno
import os
import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from deml_tf.data.converted_formats import HEADS, converted
from deml_tf.data.image_files import read_image_file
from deml_tf.data.image_limits import MOST_BYTES
from deml_tf.data.regular_files import open_regular, stat_regular

# Only names like those that tensorflow-datasets gives to shards mean a shard, so that
# other files may have any name. \C is any byte in RE2: names need not be UTF-8.
_PLACE = r"@(\d+):(\d+)\+(\d+)"
_SHARD = r"\.tfrecord[^/@]*"
_IN_TF = rf"(\C*{_SHARD}){_PLACE}"
_IN_PYTHON = re.compile(rf"(?s)(.*{_SHARD}){_PLACE}", re.ASCII)
_HEADER = 12  # of a record: its length in 8 bytes, and a checksum of it in 4


class ShardPlace(NamedTuple):
    """The place of an image in a shard.

    Attributes:
        shard: Path of the shard.
        record: Byte of the shard at which the record begins.
        start: Byte of the data of the record at which the image begins.
        length: Length of the image in bytes.
    """

    shard: str
    record: int
    start: int
    length: int

    @property
    def path(self) -> str:
        """The path of the image, as the functions of this module take it."""
        return f"{self.shard}@{self.record}:{self.start}+{self.length}"


def shard_place(path: str) -> ShardPlace | None:
    """Return the place that a path gives.

    Args:
        path: Path of an image.

    Returns:
        Its place in a shard, or None if the image has a file of its own.
    """
    found = _IN_PYTHON.fullmatch(path)
    return found and ShardPlace(found[1], int(found[2]), int(found[3]), int(found[4]))


def containing_file(path: str) -> str:
    """Return the file on disk that holds an image.

    Args:
        path: Path of an image.

    Returns:
        The shard, or the path itself.
    """
    place = shard_place(path)
    return place.shard if place else path


def stat_image(path: str) -> os.stat_result:
    """Return the status of the file that holds an image, if the image can be read.

    Args:
        path: Path of an image.

    Returns:
        The status of the shard, or of the file itself.

    Raises:
        OSError: As `stat_regular`, or it is larger than `MOST_BYTES`.
    """
    place = shard_place(path)
    if not place:
        return stat_regular(path, MOST_BYTES)
    status = stat_regular(place.shard)
    if place.length > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20} MiB", path)
    return status


def read_bytes(path: str, convert: bool = True) -> bytes:
    """Read an encoded image in Python.

    Args:
        path: Path of an image.
        convert: Whether to convert it to PNG where its format has to be converted.

    Returns:
        The bytes as stored, fewer than LENGTH if the shard ends early, or those of the
        PNG file.

    Raises:
        OSError: The file cannot be read, or cannot hold images; see `read_image_file`.
    """
    place = shard_place(path)
    if not place:
        return read_image_file(path, convert)
    stat_image(path)
    with open_regular(place.shard) as file:
        file.seek(place.record + _HEADER + place.start)
        stored = file.read(place.length)
    return converted(stored) if convert else stored


def read_head(path: str) -> bytes:
    """Read the first 12 bytes of an encoded image, which tell its format.

    Args:
        path: Path of an image.

    Raises:
        OSError: As `stat_regular`, or reading the file is not permitted.
    """
    place = shard_place(path)
    with open_regular(containing_file(path)) as file:
        if place:
            file.seek(place.record + _HEADER + place.start)
        return file.read(12) or b""  # some files of /proc never answer


def read_tensor(path: Any, elsewhere: bool = False) -> tf.Tensor:
    """Read an encoded image in TensorFlow, also inside `tf.data.Dataset.map`.

    Args:
        path: Scalar string, the path of an image.
        elsewhere: Whether another process may run it, so that shards are read without
            Python. TensorFlow counts the operations that do this as stateful; in
            deterministic mode it would read one image after the other.

    Returns:
        Scalar string, the bytes as stored; those of a PNG file if the format has to be
        converted, in Python.

    Raises:
        tf.errors.OpError: It cannot be read.
        OSError: The same, for a shard outside of graphs.
    """
    path = tf.convert_to_tensor(path, tf.string)
    encoded = tf.cond(
        tf.strings.regex_full_match(path, _IN_TF),
        lambda: read_record(path) if elsewhere else _stored(path),
        lambda: tf.io.read_file(path),
    )
    return tf.cond(
        tf.strings.regex_full_match(tf.strings.substr(encoded, 0, 12), HEADS),
        lambda: _converted(encoded),
        lambda: encoded,
    )


def _converted(encoded: Any) -> tf.Tensor:
    png = tf.numpy_function(_converted_array, [encoded], tf.string, stateful=False)
    return tf.ensure_shape(png, [])


def _converted_array(encoded: Any) -> bytes:
    # Bytes in a graph; outside of one, an array of them.
    return converted(np.asarray(encoded, object).item())


def _stored(path: Any) -> tf.Tensor:
    stored = tf.numpy_function(_stored_array, [path], tf.string, stateful=False)
    return tf.ensure_shape(stored, [])


def _stored_array(path: Any) -> bytes:
    return read_bytes(os.fsdecode(np.asarray(path, object).item()), convert=False)


def read_record(path: Any) -> Any:
    """Read an image in a shard, and compare the checksum of its record.

    Args:
        path: Scalar string, such as `ShardPlace.path`.

    Returns:
        Scalar string, the bytes as stored.

    Raises:
        tf.errors.OpError: It cannot be read; for a damaged record `DataLossError`.
    """
    shard = tf.strings.regex_replace(path, rf"\A{_IN_TF}\z", r"\1")
    record, start, length = (
        tf.strings.to_number(
            tf.strings.regex_replace(path, rf"\A{_IN_TF}\z", rf"\{group}"), tf.int64
        )
        for group in (2, 3, 4)
    )
    # The operations behind tf.data.TFRecordDataset, which does not pass `byte_offsets`
    # on. FixedLengthRecordDataset would read the shard up to the image.
    string = {"output_types": [tf.string], "output_shapes": [[]]}
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=tf.expand_dims(shard, 0),
        compression_type="",
        buffer_size=_HEADER + start + length,
        byte_offsets=tf.expand_dims(record, 0),
    )
    one = tf.raw_ops.TakeDataset(input_dataset=records, count=1, **string)
    (data,) = tf.raw_ops.DatasetToSingleElement(dataset=one, **string)
    start, length = tf.cast(start, tf.int32), tf.cast(length, tf.int32)
    return tf.strings.substr(tf.ensure_shape(data, []), start, length)
