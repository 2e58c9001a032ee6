"""What counts as an image: its name, its format and its size."""

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
"""Endings, in lower case, of the images that can be read."""

UNREADABLE_SUFFIXES = (".avif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff")
"""Endings of images in formats that TensorFlow does not read."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
"""Pillow's names of the formats that can be read."""

MOST_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded: 300 MB of memory. TensorFlow's own
limit is five times that; Pillow warns at 89 million."""


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is hidden, so that nothing looks into it."""
    return name.startswith(".")


def is_image(name: str, *, readable: bool = True) -> bool:
    """Tell by its name whether a file is an image.

    Args:
        name: Name of the file without its folder.
        readable: False also accepts images in formats that cannot be read, so that
            they can be reported instead of silently left out.

    Returns:
        True for a name that is not hidden and ends in one of the suffixes, in any
        case.
    """
    suffixes = SUFFIXES if readable else SUFFIXES + UNREADABLE_SUFFIXES
    return not is_hidden(name) and name.lower().endswith(suffixes)
