"""Decode images, including the kinds that TensorFlow's decoder gets wrong."""

from typing import Any

import tensorflow as tf

from deml_tf.data.tensor_bytes import (
    byte_count,
    bytes_at,
    slice_bytes,
    starts_with,
    to_number,
)

_JPEG = b"\xff\xd8\xff"  # a file that begins so is a JPEG file to TensorFlow
# RE2, where \C is any byte.
_WEBP = r"RIFF\C{4}WEBP"
_BMP_OF_8_BITS = r"BM\C{26}\x08\x00"
# Bits in the flags of an extended WebP; the second also in a lossless one's head.
_ANIMATED, _ALPHA = 2, 16
_BYTES = [bytes([n]) for n in range(256)]


def decode_as_stored(encoded: Any) -> tf.Tensor:
    """Decode an image without turning it upright.

    This is `tf.io.decode_image` without three of its faults: it decodes JPEG by a fast
    approximation, off by some levels from what other programs show; TensorFlow 2.21
    cannot decode a WebP file with transparency or animation to three channels; and it
    takes the palette indices of a BMP file for grey levels.

    Args:
        encoded: Scalar string, a JPEG, PNG, GIF, BMP or WebP file.

    Returns:
        uint8 `(h, w, 3)`, the first frame of an animation.
    """
    jpeg = tf.equal(tf.strings.substr(encoded, 0, len(_JPEG)), _JPEG)
    image = tf.cond(
        jpeg,
        lambda: tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE"),
        lambda: _decode_other(encoded),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _decode_other(encoded: Any) -> Any:
    webp = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, 12), _WEBP)
    bmp = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, 30), _BMP_OF_8_BITS)
    return tf.cond(
        webp | bmp,
        lambda: _decode_rare(encoded, webp),
        lambda: _decode(encoded, 3),
    )


@tf.function(
    input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.bool)],
    autograph=False,
    # Inlined, its operations would run even for images that need none of them.
    experimental_attributes={"_noinline": True},
)
def _decode_rare(encoded: Any, webp: Any) -> Any:
    return tf.cond(
        webp, lambda: _decode_webp(encoded), lambda: _decode_palette(encoded)
    )


def _decode_webp(encoded: Any) -> Any:
    """Decode a WebP file, following the specifications of container and bitstream."""
    head = bytes_at(encoded, 12, 9)
    flags = tf.where(starts_with(head, b"VP8X"), head[8], 0)
    # The header of a lossless image has a flag of its own for transparency.
    parts = tf.raw_ops.StringSplitV2(input=[encoded], sep="VP8L", maxsplit=1).values
    own = bytes_at(encoded, byte_count(parts[0]) + 12, 1)[0]
    lossless = (tf.size(parts) > 1) & ~starts_with(head, b"VP8 ")
    transparent = _has(tf.where(lossless, own, flags), _ALPHA)
    # Animations always have four channels; TensorFlow decodes four if it finds the
    # flag of transparency.
    animated = _has(flags, _ANIMATED)
    flag = tf.gather(_BYTES, tf.bitwise.bitwise_or(flags, _ALPHA))
    marked = [
        tf.strings.substr(encoded, 0, 20),
        flag,
        slice_bytes(encoded, 21, byte_count(encoded)),
    ]
    encoded = tf.where(animated, tf.strings.join(marked), encoded)
    return tf.cond(
        animated | transparent,
        lambda: _decode(encoded, 4)[..., :3],
        lambda: _decode(encoded, 3),
    )


def _decode_palette(encoded: Any) -> Any:
    # After 14 bytes of file header comes the image header, whose first number is its
    # size; then the palette, with blue, green, red and an unused byte for each colour.
    at = 14 + to_number(bytes_at(encoded, 14, 4), True)
    palette = tf.reshape(bytes_at(encoded, at, 1024), [256, 4])[:, 2::-1]
    indices = tf.cast(_decode(encoded, 3)[..., 0], tf.int32)
    return tf.cast(tf.gather(palette, indices), tf.uint8)


def _decode(encoded: Any, channels: int) -> Any:
    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


def _has(flags: Any, bit: int) -> Any:
    return tf.not_equal(tf.bitwise.bitwise_and(flags, bit), 0)
