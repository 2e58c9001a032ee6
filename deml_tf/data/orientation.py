"""EXIF orientation: which way up an image is meant to be shown.

String and tensor operations alone, so that a served model does what training does.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from deml_tf.data.byte_strings import cut, length, number, starts, take
from deml_tf.data.example import Box

Chunk = Callable[[Any, Any], tuple[Any, Any, Any]]

_TAG = 0x0112  # Orientation, in the first directory (EXIF 2.32, table 4)
_SHORT, _LONG = 3, 4
_EXIF = b"Exif\0\0"
# A PNG's pixels alone may be thousands of chunks; every turn moves on, so a walk
# ends in any case.
_MOST_CHUNKS = 100_000
_NOWHERE, _FIRST = np.int64(-1), np.int32(1)

_of_bytes = tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def turn_upright(image: Any, encoded: Any) -> tf.Tensor:
    """Turns a decoded image the way its file says.

    Args:
        image: uint8 `(h, w, 3)`, as stored.
        encoded: scalar string, its file.

    Returns:
        uint8 `(h, w, 3)`, upright.
    """
    # Most images hold no EXIF, and to look for its name costs far less than to walk.
    turned = tf.cond(
        _marked(encoded) > 0, lambda: _turned(image, encoded), lambda: image
    )
    return tf.ensure_shape(turned, [None, None, 3])


@_of_bytes
def orientation(encoded: Any) -> tf.Tensor:
    """Reads the EXIF orientation of an encoded image.

    JPEG (APP1 segment), PNG (eXIf chunk) and WebP (EXIF chunk), after Exif 2.32 and
    the specifications of the three. Orientations written as XMP alone, or as text of
    a PNG, do not count.

    Args:
        encoded: scalar string, the image's file; any bytes at all.

    Returns:
        Scalar int32 in 1..8; 1, as stored, wherever there is nothing valid to read.
    """
    # Not tf.switch_case, which has every operation of the branches not taken pass by.
    branches = (_as_stored, _of_jpeg, _of_png, _of_webp)
    (found,) = tf.raw_ops.StatelessCase(
        branch_index=_marked(encoded),
        input=[encoded],
        Tout=[tf.int32],
        branches=[branch.get_concrete_function() for branch in branches],
    )
    return tf.ensure_shape(found, [])


def upright(image: Any, orientation: Any) -> tf.Tensor:
    """Turns a stored image the way an orientation says.

    Args:
        image: `(h, w, c)`.
        orientation: scalar integer in 1..8, as EXIF numbers them.

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
    # tf.transpose of bytes logs an error of oneDNN's on some machines.
    place = tf.where(swap, row + column * w, row * w + column)
    turned = tf.gather(tf.reshape(image, [h * w, c]), place)
    return tf.ensure_shape(turned, [None, None, image.shape[-1]])


def upright_box(box: Box, orientation: int) -> Box:
    """Turns a box with its image.

    Args:
        box: (ymin, xmin, ymax, xmax) relative to the image as stored.
        orientation: of the image, 1..8.

    Returns:
        The box relative to the upright image, as `upright` makes it.
    """
    ymin, xmin, ymax, xmax = box
    if orientation >= 5:
        ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
    if orientation in (3, 4, 7, 8):
        ymin, ymax = 1 - ymax, 1 - ymin
    if orientation in (2, 3, 6, 7):
        xmin, xmax = 1 - xmax, 1 - xmin
    return ymin, xmin, ymax, xmax


def header_orientation(image: Image.Image) -> int:
    """The orientation of an image that Pillow has opened, without decoding it.

    For lists of boxes: it reads a file's head alone, and so misses what a PNG says
    after its pixels.

    Args:
        image: as `PIL.Image.open` gives it.

    Returns:
        1..8; 1 where there is nothing valid to read.
    """
    stored = image.info.get("exif")
    return int(_from_directory(stored)) if stored else 1


def _marked(encoded: Any) -> Any:
    """0 for an image without EXIF; by its first byte 1 JPEG, 2 PNG, 3 WebP."""
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
    # Inlined, its operations would pass by for every image that needs none of them.
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
        found = valid & tf.equal(marker, 0xE1) & starts(head[4:], _EXIF)
        following = tf.where(valid, following, _NOWHERE)
        return following, tf.where(found, at + 10, _NOWHERE), size - 8

    return _walk(encoded, b"\xff\xd8", 10, segment)


@_of_bytes
def _of_png(encoded: Any) -> Any:
    def chunk(head: Any, at: Any) -> tuple[Any, Any, Any]:
        size = number(head[:4], False)
        last = starts(head[4:], b"IEND")
        found = tf.where(starts(head[4:], b"eXIf"), at + 8, _NOWHERE)
        return tf.where(last, _NOWHERE, at + 12 + size), found, size

    return _walk(encoded, b"\x89PNG\r\n\x1a\n", 8, chunk)


@_of_bytes
def _of_webp(encoded: Any) -> Any:
    def chunk(head: Any, at: Any) -> tuple[Any, Any, Any]:
        size = number(head[4:], True)
        found = tf.where(starts(head, b"EXIF"), at + 8, _NOWHERE)
        return at + 8 + size + size % 2, found, size

    # RIFF, the size, WEBP; of the chunks the first says whether there may be others.
    extended = starts(take(encoded, 8, 8), b"WEBPVP8X")
    flagged = tf.not_equal(tf.bitwise.bitwise_and(take(encoded, 20, 1)[0], 8), 0)
    encoded = tf.where(extended & flagged, encoded, b"")
    return _walk(encoded, b"RIFF", 8, chunk, 12)


def _walk(encoded: Any, signature: bytes, width: int, read: Chunk, at: int = 0) -> Any:
    """Goes from chunk to chunk to the first with EXIF, and reads the orientation there.

    `read` takes the first `width` bytes of a chunk and its place, and gives the place
    of the next chunk (-1 after the last), and the block's start (or -1) and size.
    """
    end = length(encoded)
    valid = starts(take(encoded, 0, len(signature)), signature)
    first = tf.where(valid, np.int64(at or len(signature)), end)

    def step(at, start, size):
        following, start, size = read(take(encoded, at, width), at)
        return [tf.where(following > at, following, end), start, size]

    _, start, size = tf.while_loop(
        lambda at, start, size: (at < end) & (start < 0),
        step,
        [first, tf.constant(_NOWHERE), tf.constant(np.int64(0))],
        maximum_iterations=_MOST_CHUNKS,
        parallel_iterations=1,
    )
    return _from_directory(cut(encoded, tf.where(start < 0, end, start), size))


@_of_bytes
def _from_directory(block: Any) -> Any:
    """The orientation in a block of EXIF: a TIFF file's head and first directory."""
    # Where no prefix belongs, as in a PNG, some programs write it all the same.
    prefixed = tf.equal(tf.strings.substr(block, 0, 6), _EXIF)
    block = cut(block, tf.where(prefixed, 6, 0), length(block))
    head = take(block, 0, 8)
    little = starts(head, b"II*\0")
    valid = little | starts(head, b"MM\0*")
    at = number(head[4:], little)
    count = number(take(block, at, 2), little)
    table = tf.io.decode_raw(cut(block, at + 2, count * 12), tf.uint8)
    table = tf.reshape(table[: tf.size(table) // 12 * 12], [-1, 12])
    table = tf.cast(table, tf.int64)
    kind = number(table[:, 2:4], little)
    short, long = tf.equal(kind, _SHORT), tf.equal(kind, _LONG)
    value = tf.where(
        short, number(table[:, 8:10], little), number(table[:, 8:], little)
    )
    match = (
        tf.equal(number(table[:, :2], little), _TAG)
        & tf.equal(number(table[:, 4:8], little), 1)
        & (short | long)
        & (value >= 1)
        & (value <= 8)
    )
    found = tf.boolean_mask(value, match & valid)
    return tf.cast(tf.concat([found, [1]], 0)[0], tf.int32)
