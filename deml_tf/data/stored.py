"""An image's bytes, from a file of its own or from inside a shard of records.

Images in a TFRecord shard are used in place: the path of such an image is
`SHARD@RECORD:START+LENGTH`, where RECORD is the byte of the shard at which its record
begins, and the image is LENGTH bytes from byte START of that record's data.
"""

import re
from typing import Any, NamedTuple

import tensorflow as tf

# A shard's name, as tensorflow-datasets gives it, is part of what is looked for: any
# other file may be called what it likes. \C is RE2's byte: names need not be UTF-8.
_PLACE = r"@(\d+):(\d+)\+(\d+)"
_SHARD = r"\.tfrecord[^/@]*"
_IN_TF = rf"(\C*{_SHARD}){_PLACE}"
_IN_PYTHON = re.compile(rf"(?s)(.*{_SHARD}){_PLACE}", re.ASCII)
_HEADER = 12  # of a record: its length in 8 bytes, and their checksum in 4


class Place(NamedTuple):
    """Where in a shard an image lies.

    Attributes:
        shard: the file.
        record: byte of the shard at which the record begins.
        start: byte of the record's data at which the image begins.
        length: of the image, in bytes.
    """

    shard: str
    record: int
    start: int
    length: int

    @property
    def path(self) -> str:
        """The path that `read`, `read_bytes` and `place_of` understand."""
        return f"{self.shard}@{self.record}:{self.start}+{self.length}"


def place_of(path: str) -> Place | None:
    """Takes a stored image's path apart.

    Args:
        path: any image's path.

    Returns:
        Its place in a shard, or None if it is a file of its own.
    """
    found = _IN_PYTHON.fullmatch(path)
    return found and Place(found[1], int(found[2]), int(found[3]), int(found[4]))


def file_of(path: str) -> str:
    """The file that an image is in: to ask for its size, its time, its rights.

    Args:
        path: any image's path.

    Returns:
        The shard, or the path itself.
    """
    place = place_of(path)
    return place.shard if place else path


def read_bytes(path: str) -> bytes:
    """Reads an encoded image in Python.

    Args:
        path: a file, or a place in a shard.

    Returns:
        The bytes as stored; fewer than LENGTH if the shard ends before.

    Raises:
        OSError: the file cannot be read.
    """
    place = place_of(path)
    with open(place.shard if place else path, "rb") as file:
        if not place:
            return file.read()
        file.seek(place.record + _HEADER + place.start)
        return file.read(place.length)


def read(path: Any) -> tf.Tensor:
    """Reads an encoded image in TensorFlow, also inside `tf.data.Dataset.map`.

    Args:
        path: scalar string, a file or a place in a shard.

    Returns:
        Scalar string.

    Raises:
        tf.errors.OpError: it cannot be read; a damaged record is `DataLossError`.
    """
    path = tf.convert_to_tensor(path, tf.string)
    return tf.cond(
        tf.strings.regex_full_match(path, _IN_TF),
        lambda: _read_place(path),
        lambda: tf.io.read_file(path),
    )


def _read_place(path: Any) -> Any:
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
