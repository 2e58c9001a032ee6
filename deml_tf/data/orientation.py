"""EXIF orientation: which way up an image is to be shown.

It is read with string and tensor operations only, so that a served model does the same
as training.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from deml_tf.data.tensor_bytes import (
    byte_count,
    bytes_at,
    slice_bytes,
    starts_with,
    to_number,
)

Chunk = Callable[[Any, Any], tuple[Any, Any, Any]]

_TAG = 0x0112  # Orientation, in the first directory (EXIF 2.32, table 4)
_SHORT, _LONG = 3, 4
_EXIF = b"Exif\0\0"
# The pixels of a PNG file alone may take thousands of chunks.
_MOST_CHUNKS = 100_000
_NOWHERE, _FIRST = np.int64(-1), np.int32(1)

_of_bytes = tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def turn_upright(image: Any, encoded: Any) -> tf.Tensor:
    """Turn a decoded image as its file asks.

    Args:
        image: uint8 `(h, w, 3)`, as stored.
        encoded: Scalar string, its file.

    Returns:
        uint8 `(h, w, 3)`, upright.
    """
    # Most images hold no EXIF. Searching for its name costs far less than going through
    # the chunks.
    turned = tf.cond(
        _marked(encoded) > 0, lambda: _turned(image, encoded), lambda: image
    )
    return tf.ensure_shape(turned, [None, None, 3])


@_of_bytes
def orientation(encoded: Any) -> tf.Tensor:
    """Read the EXIF orientation of an encoded image.

    It is looked for in the APP1 segment of JPEG, the eXIf chunk of PNG and the EXIF
    chunk of WebP files, as Exif 2.32 and the three specifications say. An orientation
    that is given only as XMP, or as text of a PNG file, does not count.

    Args:
        encoded: Scalar string, the file of the image; any bytes at all.

    Returns:
        Scalar int32, 1 to 8; 1 (as stored) wherever nothing valid is found.
    """
    # tf.switch_case would schedule every operation of the branches not taken.
    branches = (_as_stored, _of_jpeg, _of_png, _of_webp)
    (found,) = tf.raw_ops.StatelessCase(
        branch_index=_marked(encoded),
        input=[encoded],
        Tout=[tf.int32],
        branches=[branch.get_concrete_function() for branch in branches],
    )
    return tf.ensure_shape(found, [])


def upright(image: Any, orientation: Any) -> tf.Tensor:
    """Turn an image by an orientation.

    Args:
        image: `(h, w, c)`, as stored.
        orientation: Scalar integer, 1 to 8, as EXIF numbers them.

    Returns:
        `(h, w, c)`, or `(w, h, c)` for 5 to 8.
    """
    image = tf.convert_to_tensor(image)
    h, w, c = tf.unstack(tf.shape(image))

    def among(*numbers: int) -> Any:
        return tf.reduce_any(tf.equal(tf.cast(orientation, tf.int32), numbers))

    swap = among(5, 6, 7, 8)
    rows, columns = tf.where(swap, w, h), tf.where(swap, h, w)
    row, column = tf.range(rows)[:, None], tf.range(columns)
    row = tf.where(among(3, 4, 7, 8), rows - 1 - row, row)
    column = tf.where(among(2, 3, 6, 7), columns - 1 - column, column)
    # On some machines tf.transpose of bytes logs an error of oneDNN. This needs a
    # single array of pixel numbers, which is a third larger than the image.
    place = row * tf.where(swap, 1, w) + column * tf.where(swap, w, 1)
    turned = tf.gather(tf.reshape(image, [h * w, c]), place)
    return tf.ensure_shape(turned, [None, None, image.shape[-1]])


def header_orientation(image: Image.Image) -> int:
    """Return the orientation of an image that Pillow has opened but not decoded.

    It reads only the beginning of the file, and so misses what a PNG file gives after
    its pixels. This is good enough for lists of boxes.

    Args:
        image: The image, as `PIL.Image.open` returns it.

    Returns:
        1 to 8; 1 where nothing valid is found.
    """
    stored = image.info.get("exif")
    return int(_from_directory(stored)) if stored else 1


def _marked(encoded: Any) -> Any:
    """Return 0 for an image without EXIF, else 1 for JPEG, 2 for PNG, 3 for WebP."""
    first = tf.equal(tf.strings.substr(encoded, 0, 1), [b"\xff", b"\x89", b"R"])
    kind = tf.reduce_sum(tf.where(first, [1, 2, 3], 0))
    mark = tf.gather([_EXIF, _EXIF, b"eXIf", b"EXIF"], kind)
    parts = tf.raw_ops.StringSplitV2(input=[encoded], sep=mark, maxsplit=1).values
    return tf.where(tf.size(parts) > 1, kind, 0)


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None, 3], tf.uint8),
        tf.TensorSpec([], tf.string),
    ],
    autograph=False,
    # Inlined, its operations would run even for images that need none of them.
    experimental_attributes={"_noinline": True},
)
def _turned(image: Any, encoded: Any) -> Any:
    return upright(image, orientation(encoded))


@_of_bytes
def _as_stored(encoded: Any) -> Any:
    return tf.constant(_FIRST)


@_of_bytes
def _of_jpeg(encoded: Any) -> Any:
    def segment(head: Any, at: Any) -> tuple[Any, Any, Any]:
        marker, size = head[1], head[2] * 256 + head[3]
        fill = tf.equal(marker, 0xFF)  # any number of them may stand before a marker
        last = tf.equal(marker, 0xDA) | tf.equal(marker, 0xD9) | (size < 2)
        following = tf.where(fill, at + 1, tf.where(last, _NOWHERE, at + 2 + size))
        valid = tf.equal(head[0], 0xFF)
        found = valid & tf.equal(marker, 0xE1) & starts_with(head[4:], _EXIF)
        following = tf.where(valid, following, _NOWHERE)
        return following, tf.where(found, at + 10, _NOWHERE), size - 8

    return _walk(encoded, b"\xff\xd8", 10, segment)


@_of_bytes
def _of_png(encoded: Any) -> Any:
    def chunk(head: Any, at: Any) -> tuple[Any, Any, Any]:
        size = to_number(head[:4], False)
        last = starts_with(head[4:], b"IEND")
        found = tf.where(starts_with(head[4:], b"eXIf"), at + 8, _NOWHERE)
        return tf.where(last, _NOWHERE, at + 12 + size), found, size

    return _walk(encoded, b"\x89PNG\r\n\x1a\n", 8, chunk)


@_of_bytes
def _of_webp(encoded: Any) -> Any:
    def chunk(head: Any, at: Any) -> tuple[Any, Any, Any]:
        size = to_number(head[4:], True)
        found = tf.where(starts_with(head, b"EXIF"), at + 8, _NOWHERE)
        return at + 8 + size + size % 2, found, size

    # After RIFF, the size and WEBP, the first chunk tells whether others may follow.
    extended = starts_with(bytes_at(encoded, 8, 8), b"WEBPVP8X")
    flagged = tf.not_equal(tf.bitwise.bitwise_and(bytes_at(encoded, 20, 1)[0], 8), 0)
    encoded = tf.where(extended & flagged, encoded, b"")
    return _walk(encoded, b"RIFF", 8, chunk, 12)


def _walk(encoded: Any, signature: bytes, width: int, read: Chunk, at: int = 0) -> Any:
    """Go from chunk to chunk to the first with EXIF, and read the orientation there.

    `read` takes the first `width` bytes of a chunk and its place. It returns the place
    of the next chunk (-1 after the last), and start (or -1) and size of the EXIF block.
    """
    end = byte_count(encoded)
    valid = starts_with(bytes_at(encoded, 0, len(signature)), signature)
    first = tf.where(valid, np.int64(at or len(signature)), end)

    def step(at: Any, start: Any, size: Any) -> list[Any]:
        following, start, size = read(bytes_at(encoded, at, width), at)
        return [tf.where(following > at, following, end), start, size]

    _, start, size = tf.while_loop(
        lambda at, start, size: (at < end) & (start < 0),
        step,
        [first, tf.constant(_NOWHERE), tf.constant(np.int64(0))],
        maximum_iterations=_MOST_CHUNKS,
        parallel_iterations=1,
    )
    return _from_directory(slice_bytes(encoded, tf.where(start < 0, end, start), size))


@_of_bytes
def _from_directory(block: Any) -> Any:
    """Read the orientation in the first directory of an EXIF block, a TIFF file."""
    # Some programs write the prefix where it does not belong, as in a PNG.
    prefixed = tf.equal(tf.strings.substr(block, 0, 6), _EXIF)
    block = slice_bytes(block, tf.where(prefixed, 6, 0), byte_count(block))
    head = bytes_at(block, 0, 8)
    little = starts_with(head, b"II*\0")
    valid = little | starts_with(head, b"MM\0*")
    at = to_number(head[4:], little)
    count = to_number(bytes_at(block, at, 2), little)
    table = tf.io.decode_raw(slice_bytes(block, at + 2, count * 12), tf.uint8)
    table = tf.reshape(table[: tf.size(table) // 12 * 12], [-1, 12])
    table = tf.cast(table, tf.int64)
    kind = to_number(table[:, 2:4], little)
    short, long = tf.equal(kind, _SHORT), tf.equal(kind, _LONG)
    value = tf.where(
        short, to_number(table[:, 8:10], little), to_number(table[:, 8:], little)
    )
    match = (
        tf.equal(to_number(table[:, :2], little), _TAG)
        & tf.equal(to_number(table[:, 4:8], little), 1)
        & (short | long)
        & (value >= 1)
        & (value <= 8)
    )
    found = tf.boolean_mask(value, match & valid)
    return tf.cast(tf.concat([found, [1]], 0)[0], tf.int32)
