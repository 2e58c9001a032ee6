"""Images on the client's disk: found, read, made smaller if that is asked for."""

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from deml_tf.data.image_files import SUFFIXES, is_image
from deml_tf.errors import UsageError

MOST_BYTES = 32 * 2**20
"""Images of one request together, if they are more than one."""

# A message ends at 2 GiB, and as base64 an image is a third longer.
_LARGEST = 2**30
# Other modes Pillow would not turn into the same colours as the server does.
_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image to be embedded.

    Attributes:
        size: Bytes, about.
        read: Gives its file's content; may raise OSError.
    """

    size: int
    read: Callable[[], bytes]


def find_images(names: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as named, and of folders the images below them, sorted.

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
    """A file to be read when its turn comes.

    Args:
        path: The file; if it cannot be read, that is told on reading.
        max_side: See `downscaled`; 0 leaves images as they are.
    """
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return ImageFile(size, functools.partial(_read, path, max_side))


def downscaled(encoded: bytes, max_side: int) -> bytes:
    """Makes a large image smaller: an upright JPEG.

    Boxes, being relative to the upright image, stay what they are; the embedding
    moves a little, for the image is resampled twice.

    Args:
        encoded: An image's file.
        max_side: Pixels of the longer side above which it is made smaller.

    Returns:
        A new file; the same one if the image is small enough, if Pillow cannot read
        it (the server shall say what it thinks of it), or if its colours are of a kind
        that Pillow does not treat as the server does, such as CMYK or 16 bits.
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


def batches(
    sizes: Sequence[int], most: int, most_bytes: int = MOST_BYTES
) -> Iterator[range]:
    """Cuts images into requests: neighbours, not too many, not too large.

    Args:
        sizes: Bytes of each image.
        most: Images in a request.
        most_bytes: Bytes in a request; a larger image goes alone.

    Yields:
        Ranges of indices.
    """
    start, total = 0, 0
    for index, size in enumerate(sizes):
        full = index - start == most or total + size > most_bytes
        if index > start and full:
            yield range(start, index)
            start, total = index, 0
        total += size
    if start < len(sizes):
        yield range(start, len(sizes))


def _read(path, max_side):
    if path.is_dir():  # by now, or a folder called x.jpg
        raise IsADirectoryError(None, "is a folder")
    if path.stat().st_size > _LARGEST:
        raise OSError(None, f"larger than {_LARGEST >> 30} GiB")
    encoded = path.read_bytes()
    return downscaled(encoded, max_side) if max_side else encoded
