"""The number of pixels an encoded image claims to have, before any is decoded.

String and tensor operations alone, so that a served model can refuse an image that
would unpack into more memory than the server has.
"""

from typing import Any

import tensorflow as tf

# The first bytes of each format, by which TensorFlow's decoder tells them apart.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")
_HEAD = 34  # bytes; every size but JPEG's is among them
_MOST_BLOCKS = 2000  # of a GIF: frames and what stands between them
_TOO_MANY = 2**62


def pixels(encoded: Any) -> tf.Tensor:
    """Count the pixels that decoding an image would make, by its header.

    JPEG, PNG, GIF (all its frames together, since all are unpacked to show the first),
    BMP and WebP, after the formats' own specifications.

    Args:
        encoded: Scalar string, the image's file; any bytes at all.

    Returns:
        Scalar int64; 0 where the bytes are too few or of no such format.

    Raises:
        tf.errors.OpError: JPEG whose header cannot be read; nor could the image.
    """
    head = tf.cast(
        tf.io.decode_raw(
            tf.strings.substr(encoded, 0, _HEAD), tf.uint8, fixed_length=_HEAD
        ),
        tf.int64,
    )
    kinds = [tf.reduce_all(head[: len(m)] == list(m)) for m in _MAGIC]
    is_known = tf.reduce_any(kinds)
    kind = tf.where(is_known, tf.argmax(tf.cast(kinds, tf.int32)), len(_MAGIC))
    return tf.switch_case(
        tf.cast(kind, tf.int32),
        [
            lambda: _area(*tf.unstack(tf.io.extract_jpeg_shape(encoded)[:2])),
            lambda: _area(_number(head[16:20], True), _number(head[20:24], True)),
            lambda: _gif(encoded),
            lambda: _area(_signed(head[18:22]), _signed(head[22:26])),
            lambda: _webp(head),
            lambda: tf.constant(0, tf.int64),
        ],
    )


def _webp(head: Any) -> Any:
    """Lossy: 14 bits a side; lossless: 14 bits less one; extended: 24 bits less one."""
    lossy = _area(_number(head[26:28]) % 2**14, _number(head[28:30]) % 2**14)
    bits = _number(head[21:25])
    lossless = _area(bits % 2**14 + 1, bits // 2**14 % 2**14 + 1)
    canvas = _area(_number(head[24:27]) + 1, _number(head[27:30]) + 1)
    return tf.where(
        head[15] == ord("X"), canvas, tf.where(head[15] == ord("L"), lossless, lossy)
    )


def _gif(encoded: Any) -> Any:
    """Count the pixels of all frames, or of the square around them if that is more."""
    data = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    size = tf.size(data)
    data = tf.pad(data, [[0, 16]])  # bytes that are missing read as zeros
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
    return tf.where(is_block(at), tf.constant(_TOO_MANY, tf.int64), area)


def _area(height: Any, width: Any) -> Any:
    # As floats: 32 bits times 32 bits do not fit into int64.
    area = tf.cast(height, tf.float64) * tf.cast(width, tf.float64)
    return tf.cast(tf.minimum(area, float(_TOO_MANY)), tf.int64)


def _number(values: Any, is_big_endian: bool = False) -> Any:
    weights = [256**n for n in range(values.shape[0])]
    weights = weights[::-1] if is_big_endian else weights
    return tf.reduce_sum(values * tf.constant(weights, tf.int64))


def _signed(values: Any) -> Any:
    """Read a signed number's size; BMP's height is negative when it runs downwards."""
    number = _number(values)
    return tf.where(number >= 2**31, 2**32 - number, number)
