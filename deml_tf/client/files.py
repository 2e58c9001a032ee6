"""Image files on the client's disk: found, read, and made smaller if asked for."""

import dataclasses
import functools
import io
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, ImageOps

from deml_tf.cli.printing import say
from deml_tf.data.image_files import (
    CONVERTED_SUFFIXES,
    FORMATS,
    SUFFIXES,
    count_left_out,
    look_into,
    read_image_file,
)
from deml_tf.data.image_limits import MOST_PIXELS
from deml_tf.errors import UsageError

_AS_PNG = 8  # times the size as HEIC or AVIF, about, for photographs
# Pillow does not turn other modes into the same colours as the server.
_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}
# Where Pillow, unlike the server, looks for an orientation besides EXIF.
_NOT_EXIF = ("xmp", "XML:com.adobe.xmp", "Raw profile type exif")


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image to be embedded.

    Attributes:
        size: Approximate number of bytes.
        read: Returns the file's content; may raise OSError.
    """

    size: int
    read: Callable[[], bytes]


def find_images(names: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List files as named, and the images below folders; print what is left out.

    Args:
        names: Files of any name, and folders.

    Raises:
        UsageError: Something is missing, or a folder holds no image or cannot be read.
    """
    found, left_out = [], []
    for path in map(Path, names):
        if os.path.isdir(path):
            images, others = look_into(path)
            if not images:
                raise UsageError(
                    f"{path} holds no images ({', '.join(SUFFIXES)}): name another "
                    "folder, or files."
                )
            found += map(Path, images)
            left_out += others
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist: name an image or a folder.")
    if left_out:
        say(count_left_out(left_out))
    return found


def on_disk(path: Path, max_side: int = 0) -> ImageFile:
    """Describe a file to be read when its turn comes.

    Args:
        path: The file; if it cannot be read, reading it raises the error.
        max_side: See `downscaled`; 0 leaves images as they are.
    """
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if path.suffix.lower() in CONVERTED_SUFFIXES:
        size *= _AS_PNG
    return ImageFile(size, functools.partial(_read, path, max_side))


def downscaled(encoded: bytes, max_side: int) -> bytes:
    """Make a large image smaller: an upright JPEG.

    Boxes are relative to the upright image and so stay the same; the embedding changes
    a little, as the image is resampled twice.

    Args:
        encoded: An image's file.
        max_side: Pixels of the longer side above which it is made smaller.

    Returns:
        A new file; the same one if the image is small enough, if Pillow cannot read
        it or it has too many pixels (the server decides then), or if Pillow does not
        convert its colours as the server does, such as CMYK or 16 bits.
    """
    try:
        # No other formats: Pillow would start other programs for some.
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            small = max(image.size) <= max_side
            if small or image.mode not in _MODES or math.prod(image.size) > MOST_PIXELS:
                return encoded
            image.load()
            for name in _NOT_EXIF:
                image.info.pop(name, None)
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # Pillow raises a dozen kinds of errors on damaged files
        return encoded
    upright.thumbnail((max_side, max_side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def _read(path: Path, max_side: int) -> bytes:
    encoded = read_image_file(path)
    return downscaled(encoded, max_side) if max_side else encoded
