"""Images from their bytes, with what TensorFlow's decoder leaves out."""

from typing import Any

import tensorflow as tf

from deml_tf.data.byte_strings import cut, length, number, starts, take

# RE2, where \C is any byte.
_WEBP = r"RIFF\C{4}WEBP"
_BMP_OF_8_BITS = r"BM\C{26}\x08\x00"
# Bits in the flags of an extended WebP; the second also in a lossless one's head.
_ANIMATED, _ALPHA = 2, 16
_BYTES = [bytes([n]) for n in range(256)]


def decode_stored(encoded: Any) -> tf.Tensor:
    """Decodes an image the way it is stored: `tf.io.decode_image` with its gaps shut.

    TensorFlow 2.21 refuses to decode a WebP with transparency or animation to three
    channels, and takes a BMP's numbers of palette colours for greys.

    Args:
        encoded: scalar string: JPEG, PNG, GIF, BMP or WebP.

    Returns:
        uint8 `(h, w, 3)`; of an animation the first frame.
    """
    webp = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, 12), _WEBP)
    bmp = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, 30), _BMP_OF_8_BITS)
    image = tf.cond(
        webp | bmp,
        lambda: _decode_rare(encoded, webp),
        lambda: _decode(encoded, 3),
    )
    return tf.ensure_shape(image, [None, None, 3])


@tf.function(
    input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.bool)],
    autograph=False,
    # Inlined, its operations would pass by for every image that needs none of them.
    experimental_attributes={"_noinline": True},
)
def _decode_rare(encoded: Any, webp: Any) -> Any:
    return tf.cond(
        webp, lambda: _decode_webp(encoded), lambda: _decode_palette(encoded)
    )


def _decode_webp(encoded: Any) -> Any:
    """After the WebP container's specification and that of its lossless bitstream."""
    head = take(encoded, 12, 9)
    flags = tf.where(starts(head, b"VP8X"), head[8], 0)
    # A lossless image says itself whether it is transparent.
    parts = tf.raw_ops.StringSplitV2(input=[encoded], sep="VP8L", maxsplit=1).values
    own = take(encoded, length(parts[0]) + 12, 1)[0]
    lossless = (tf.size(parts) > 1) & ~starts(head, b"VP8 ")
    transparent = _has(tf.where(lossless, own, flags), _ALPHA)
    # Animations have four channels always, which TensorFlow gives to transparent ones.
    animated = _has(flags, _ANIMATED)
    flag = tf.gather(_BYTES, tf.bitwise.bitwise_or(flags, _ALPHA))
    marked = [
        tf.strings.substr(encoded, 0, 20),
        flag,
        cut(encoded, 21, length(encoded)),
    ]
    encoded = tf.where(animated, tf.strings.join(marked), encoded)
    return tf.cond(
        animated | transparent,
        lambda: _decode(encoded, 4)[..., :3],
        lambda: _decode(encoded, 3),
    )


def _decode_palette(encoded: Any) -> Any:
    # The file's head has 14 bytes; then comes the image's, which begins with its
    # size, then the palette: blue, green, red and an empty byte for each colour.
    at = 14 + number(take(encoded, 14, 4), True)
    palette = tf.reshape(take(encoded, at, 1024), [256, 4])[:, 2::-1]
    indices = tf.cast(_decode(encoded, 3)[..., 0], tf.int32)
    return tf.cast(tf.gather(palette, indices), tf.uint8)


def _decode(encoded: Any, channels: int) -> Any:
    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


def _has(flags: Any, bit: int) -> Any:
    return tf.not_equal(tf.bitwise.bitwise_and(flags, bit), 0)
