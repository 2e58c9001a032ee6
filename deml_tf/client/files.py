"""Image files on the client's disk: found, read, and made smaller if asked for."""

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, ImageOps

from deml_tf.data.image_files import SUFFIXES, is_image
from deml_tf.errors import UsageError

# A message ends at 2 GiB, and as base64 an image is a third longer.
_LARGEST = 2**30
# Pillow does not turn other modes into the same colours as the server.
_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image to be embedded.

    Attributes:
        size: Bytes, about.
        read: Returns the file's content; may raise OSError.
    """

    size: int
    read: Callable[[], bytes]


def find_images(names: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List files as named, and the images below folders, sorted.

    Args:
        names: Files of any name, and folders.

    Raises:
        UsageError: Something is missing, or a folder holds no image.
    """
    found = []
    for path in map(Path, names):
        if path.is_dir():
            files = (Path(place, n) for place, _, names in os.walk(path) for n in names)
            below = sorted(f for f in files if is_image(f.name))
            if not below:
                raise UsageError(
                    f"{path} holds no images ({', '.join(SUFFIXES)}): name another "
                    "folder, or files."
                )
            found += below
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist: name an image or a folder.")
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
    return ImageFile(size, functools.partial(_read, path, max_side))


def downscaled(encoded: bytes, max_side: int) -> bytes:
    """Make a large image smaller: an upright JPEG.

    Boxes are relative to the upright image and so stay the same; the embedding moves a
    little, for the image is resampled twice.

    Args:
        encoded: An image's file.
        max_side: Pixels of the longer side above which it is made smaller.

    Returns:
        A new file; the same one if the image is small enough, if Pillow cannot read
        it (the server decides then), or if Pillow does not convert its colours as the
        server does, such as CMYK or 16 bits.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if max(image.size) <= max_side or image.mode not in _MODES:
                return encoded
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return encoded
    upright.thumbnail((max_side, max_side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def _read(path: Path, max_side: int) -> bytes:
    if path.is_dir():  # by now, or a folder called x.jpg
        raise IsADirectoryError(None, "is a folder")
    if path.stat().st_size > _LARGEST:
        raise OSError(None, f"larger than {_LARGEST >> 30} GiB")
    encoded = path.read_bytes()
    return downscaled(encoded, max_side) if max_side else encoded
