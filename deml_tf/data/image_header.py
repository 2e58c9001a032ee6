"""What decoding an encoded image would cost, found before any pixel is decoded.

This uses string and tensor operations alone, so that a served model can refuse an image
that would unpack into more memory, or take more time, than the server has.
"""

from typing import Any

import tensorflow as tf

from deml_tf.data.image_limits import MOST_BYTES, MOST_PIXELS
from deml_tf.data.tensor_bytes import byte_count, bytes_at, starts_with, to_number

MOST_SCANNED = 16 * MOST_PIXELS
"""Pixels times scans of the largest JPEG that is decoded. Programs write a progressive
JPEG in about ten scans, each of which takes some 1.5 ns per pixel; a file has room for
hundreds."""

MOST_GIF_BYTES = 2**24
"""Bytes of the largest GIF that is decoded: finding its frames takes 20 times as much
memory, in all as much as the largest image."""

# The first bytes of each format, by which TensorFlow's decoder tells them apart.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")
_MOST = (MOST_BYTES, MOST_BYTES, MOST_GIF_BYTES, MOST_BYTES, MOST_BYTES, MOST_BYTES)
_HEAD = 34  # bytes that hold the image's size in every format but JPEG
_IHDR = b"\0\0\0\x0dIHDR"  # length and name of the chunk that a PNG begins with
_MOST_BLOCKS = 2000  # of a GIF: frames and what stands between them
_MOST_SEGMENTS = 1000  # of a JPEG before its first scan
_MOST_SCANS = 1000  # of a JPEG, however small
# Compressed texts of a PNG: each unpacks into up to 8 MB, and is ignored.
_MOST_TEXTS = 32
_MOST_AREA = 2**61
# Returned instead of the number of pixels if something else is too much.
_BYTES, _BLOCKS, _ORDER, _SCANS, _TEXTS = range(2**62, 2**62 + 5)
_REASONS = {
    _BYTES: f"it is a GIF of more than {MOST_GIF_BYTES >> 20} MiB",
    _BLOCKS: f"it is a GIF of more than {_MOST_BLOCKS} blocks",
    _ORDER: "it is a PNG that does not begin with its size",
    _SCANS: f"it is a JPEG of more than {MOST_SCANNED:.2g} pixels times scans",
    _TEXTS: f"it is a PNG of {_MOST_TEXTS} compressed texts or more",
}


def refusal(encoded: bytes) -> str:
    """Say why an image must not be decoded.

    Args:
        encoded: The image's file; any bytes at all.

    Returns:
        The reason, in words; empty if the decoder may try, and tell whether it is an
        image.
    """
    try:
        found = int(_pixels_of(encoded))
    except tf.errors.OpError:
        return ""
    too_many = f"it has more than {MOST_PIXELS // 10**6} million pixels"
    reason = _REASONS.get(found, too_many) if found > MOST_PIXELS else ""
    return f"{reason}, as a decompression bomb has" if reason == too_many else reason


def is_decodable(encoded: Any) -> tf.Tensor:
    """Tell whether to decode an image: it has pixels, and not too many.

    Args:
        encoded: Scalar string, the image's file; any bytes at all.

    Returns:
        Scalar boolean. True does not say that the file is whole.

    Raises:
        tf.errors.OpError: A JPEG whose header, and so the image, cannot be read.
    """
    found = pixels(encoded)
    return (found > 0) & (found <= MOST_PIXELS)


def pixels(encoded: Any) -> tf.Tensor:
    """Count the pixels that decoding an image would make, from its header.

    It knows JPEG, PNG, GIF (all its frames together, since all are unpacked to show the
    first), BMP and WebP, by the formats' own specifications. The size of the file is
    checked first.

    Args:
        encoded: Scalar string, the image's file; any bytes at all.

    Returns:
        Scalar int64; 0 if the bytes are too few or of no such format. More than
        `MOST_PIXELS` also if the file is too large, a GIF has too many blocks, a JPEG
        too many scans or a PNG too many texts, or a PNG does not begin with its size,
        since a decoder might find another.

    Raises:
        tf.errors.OpError: A JPEG whose header, and so the image, cannot be read.
    """
    head = bytes_at(encoded, 0, _HEAD)
    kinds = [starts_with(head, magic) for magic in _MAGIC]
    kind = tf.reduce_min(tf.where(kinds, [*range(len(_MAGIC))], len(_MAGIC)))
    fits = byte_count(encoded) <= tf.gather(tf.constant(_MOST, tf.int64), kind)
    return tf.switch_case(
        tf.where(fits, kind, len(_MAGIC) + 1),
        [
            lambda: _jpeg(encoded),
            lambda: _png(encoded, head),
            lambda: _gif(encoded),
            lambda: _area(_signed(head[18:22]), _signed(head[22:26])),
            lambda: _webp(head),
            lambda: tf.constant(0, tf.int64),
            lambda: tf.constant(_BYTES, tf.int64),
        ],
    )


_pixels_of = tf.function(
    pixels, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


def _jpeg(encoded: Any) -> Any:
    area = _area(*tf.unstack(tf.io.extract_jpeg_shape(encoded)[:2]))
    # Each scan begins with these two bytes. They may also occur in other data, so the
    # header is read before an image is refused.
    scans = _count(encoded, b"\xff\xda", _MOST_SCANS)
    return tf.cond(
        (area * scans <= MOST_SCANNED) & (scans < _MOST_SCANS),
        lambda: area,
        lambda: tf.where(_has_one_scan(encoded), area, tf.constant(_SCANS, tf.int64)),
    )


def _has_one_scan(encoded: Any) -> Any:
    """Tell whether a JPEG is not progressive and its first scan has all its colours."""
    end = byte_count(encoded)

    def step(at: Any, colours: Any, whole: Any) -> tuple[Any, Any, Any]:
        head = bytes_at(encoded, at, 10)
        marker, size = head[1], head[2] * 256 + head[3]
        fill = marker == 0xFF  # any number of them may stand before a marker
        scan = marker == 0xDA
        # Other markers have no size, or must not stand here.
        valid = (marker >= 0xC0) & ((marker < 0xD0) | (marker > 0xD9)) & (size >= 2)
        colours = tf.where((marker == 0xC0) | (marker == 0xC1), head[9], colours)
        following = tf.where(valid & ~scan, at + 2 + size, end)
        following = tf.where(fill, at + 1, following)
        found = valid & scan & (head[0] == 0xFF) & (head[4] == colours)
        return tf.where(head[0] == 0xFF, following, end), colours, found

    start = [tf.constant(n, tf.int64) for n in (2, -1)]
    _, _, whole = tf.while_loop(
        lambda at, *_: at < end,
        step,
        (*start, tf.constant(False)),
        maximum_iterations=_MOST_SEGMENTS,
        parallel_iterations=1,
    )
    return whole


def _png(encoded: Any, head: Any) -> Any:
    area = _area(to_number(head[16:20], False), to_number(head[20:24], False))
    texts = [_count(encoded, name, _MOST_TEXTS) for name in (b"zTXt", b"iTXt")]
    area = tf.where(tf.add_n(texts) < _MOST_TEXTS, area, tf.constant(_TEXTS, tf.int64))
    first = starts_with(head[8:], _IHDR)
    return tf.where(first, area, tf.constant(_ORDER, tf.int64))


def _count(encoded: Any, mark: bytes, most: int) -> Any:
    """Count how often some bytes occur, up to `most`, which bounds the memory."""
    parts = tf.raw_ops.StringSplitV2(input=[encoded], sep=mark, maxsplit=most).values
    return tf.size(parts, tf.int64) - 1


def _webp(head: Any) -> Any:
    """Lossy: sides of 14 bits; lossless: 14 bits, less one; extended: 24, less one."""
    lossy = _area(_little(head[26:28]) % 2**14, _little(head[28:30]) % 2**14)
    bits = _little(head[21:25])
    lossless = _area(bits % 2**14 + 1, bits // 2**14 % 2**14 + 1)
    canvas = _area(_little(head[24:27]) + 1, _little(head[27:30]) + 1)
    return tf.where(
        head[15] == ord("X"), canvas, tf.where(head[15] == ord("L"), lossless, lossy)
    )


def _gif(encoded: Any) -> Any:
    """Count the pixels of all frames, or greatest width x height if that is more."""
    data = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    size = tf.size(data)
    data = tf.pad(data, [[0, 16]])  # missing bytes read as zeros
    places = tf.range(size + 16)
    # Data come in chained blocks, a length and as many bytes, up to a length of 0.
    # Jumping twice as far each time finds every chain's end in few steps, however
    # the chains are built.
    ends = tf.where(data > 0, tf.minimum(places + 1 + data, size), places)
    _, ends = tf.while_loop(
        lambda reach, _: reach < size,
        lambda reach, ends: (2 * reach, tf.gather(ends, ends)),
        (1, ends),
    )

    def table(flags: Any) -> Any:  # bytes of a colour table
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def step(at: Any, area: Any, sides: Any) -> Any:
        block = data[at : at + 10]
        is_frame = block[0] == 0x2C
        side = tf.cast(block[5:9:2] + 256 * block[6:10:2], tf.int64)
        chain = tf.where(is_frame, at + 11 + table(block[9]), at + 2)
        area += tf.where(is_frame, side[0] * side[1], 0)
        sides = tf.where(is_frame, tf.maximum(sides, side), sides)
        return tf.gather(ends, tf.minimum(chain, size)) + 1, area, sides

    def is_block(at: Any, *_: Any) -> Any:
        kind = data[tf.minimum(at, size)]
        return (at < size) & ((kind == 0x2C) | (kind == 0x21))

    start = (13 + table(data[10]), tf.constant(0, tf.int64), tf.zeros(2, tf.int64))
    at, area, sides = tf.while_loop(
        is_block, step, start, maximum_iterations=_MOST_BLOCKS
    )
    area = tf.maximum(area, sides[0] * sides[1])
    return tf.where(is_block(at), tf.constant(_BLOCKS, tf.int64), area)


def _area(height: Any, width: Any) -> Any:
    # As floats: 32 bits times 32 bits do not fit into int64.
    area = tf.cast(height, tf.float64) * tf.cast(width, tf.float64)
    return tf.cast(tf.minimum(area, float(_MOST_AREA)), tf.int64)


def _little(values: Any) -> Any:
    return to_number(values, True)


def _signed(values: Any) -> Any:
    """Read a number without its sign, which in a BMP's height tells the rows' order."""
    number = _little(values)
    return tf.where(number >= 2**31, 2**32 - number, number)
