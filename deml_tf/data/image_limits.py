"""How large an image may be to be read and decoded."""

MOST_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded: 300 MB of memory. TensorFlow's own
limit is five times that; Pillow warns at 89 million."""

MOST_BYTES = 2**28
"""Bytes of the largest image file that is read. A JPEG of `MOST_PIXELS` pixels takes
about a fifth of this; uncompressed at 4 bytes per pixel, 67 million pixels reach it."""
