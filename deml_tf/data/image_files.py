"""Which files count as images, by name and size; finding and reading them.

The rule is the same for training, audit, evaluation, export and client. This module
needs no TensorFlow.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

from deml_tf.data.converted_formats import converted, format_of
from deml_tf.data.image_limits import MOST_BYTES
from deml_tf.data.regular_files import open_regular
from deml_tf.errors import UsageError

CONVERTED_SUFFIXES = (".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2")
"""Endings, in lower case, of the images that `converted_formats` converts."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp"),
    *(".png", ".gif", ".bmp", ".dib", ".webp"),
    *CONVERTED_SUFFIXES,
)
"""Endings, in lower case, of the images that can be read."""

UNREADABLE_SUFFIXES = (".jxl",)
"""Endings of images in formats that cannot be read. They are listed like the others, so
that they are reported and not left out."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
"""Pillow's names of the formats that TensorFlow reads; files of the others are
converted when they are read."""

_FOREIGN = ("__MACOSX", "@eaDir")  # what macOS and Synology put beside images
_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


class Found(NamedTuple):
    """What is in a folder and below it.

    Attributes:
        images: Paths of the images.
        left_out: Paths of the files that are not images, and of the folders that were
            not searched.
    """

    images: list[str]
    left_out: list[str]


def is_hidden(name: str) -> bool:
    """Tell by its name whether to pass over a file or a folder.

    Args:
        name: Its name without the folder it is in.

    Returns:
        True for a name that begins with a dot, like those of the copies of images that
        macOS and Jupyter make, and for folders such as `__MACOSX`.
    """
    return name.startswith(".") or name in _FOREIGN


def is_image(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is an image.

    Args:
        path: The file.

    Returns:
        True for a name that is not hidden and has one of the endings, in any case. A
        file without an ending is an image if it begins like one.
    """
    name = os.path.basename(path)
    ending = os.path.splitext(name)[1].lower()
    if is_hidden(name) or ending:
        return not is_hidden(name) and ending in SUFFIXES + UNREADABLE_SUFFIXES
    try:
        with open_regular(path, MOST_BYTES) as file:
            head = file.read(16) or b""  # some files of /proc never answer
    except OSError:
        return False
    return media_type(head) is not None or bool(format_of(head))


def media_type(encoded: bytes) -> str | None:
    """Return the media type of an image, for browsers, from its first 12 bytes.

    Args:
        encoded: The image's file, or its beginning; any bytes at all.

    Returns:
        Such as "image/jpeg"; None if it begins like no format that TensorFlow reads.
    """
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "image/webp"
    if encoded[:2] == b"BM" and encoded[6:10] == bytes(4):
        return "image/bmp"
    return next(
        (kind for magic, kind in _MAGIC.items() if encoded[:8].startswith(magic)), None
    )


def find_image_files(folder: str | os.PathLike[str]) -> Found:
    """Find the images in a folder and in all folders below it, linked ones too.

    Each folder is searched once: links that lead back to it do no harm.

    Args:
        folder: The folder.

    Returns:
        The images and what is left out, in the order of names.

    Raises:
        OSError: A folder cannot be read.
    """
    found, known, waiting = Found([], []), set(), [os.fspath(folder)]
    while waiting:
        place = waiting.pop()
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in known:
            found.left_out.append(place)
            continue
        known.add((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            below = sorted(entries, key=lambda entry: entry.name)
        folders = []
        for entry in below:
            # A folder called x.jpg is listed, and reported when it is read.
            if is_image(entry.path):
                found.images.append(entry.path)
            elif is_folder(entry) and not is_hidden(entry.name):
                folders.append(entry.path)
            else:
                found.left_out.append(entry.path)
        waiting += reversed(folders)
    return found


def look_into(folder: str | os.PathLike[str]) -> Found:
    """Find the images in a folder that a user names, as `find_image_files` does.

    Args:
        folder: The folder.

    Raises:
        UsageError: It, or a folder below it, cannot be read.
    """
    try:
        return find_image_files(folder)
    except OSError as error:
        raise UsageError(
            f"The folder {error.filename} cannot be read ({error.strerror}): change "
            "its permissions, or name another."
        ) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one; a looped link is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def count_left_out(paths: Sequence[str]) -> str:
    """Say how many files are left out, and name one; nothing if there are none.

    Args:
        paths: Paths of what is left out.
    """
    if not paths:
        return ""
    number = f"{len(paths):,} files or folders" if paths[1:] else "1 file or folder"
    return f"left out, because not images: {number}, such as {paths[0]}"


def read_image_file(path: str | os.PathLike[str], convert: bool = True) -> bytes:
    """Read a whole image file, without waiting on one that is not a regular file.

    Args:
        path: The file.
        convert: Whether to convert it to PNG where its format has to be converted.

    Returns:
        Its bytes, at most `MOST_BYTES`, or those of the PNG file.

    Raises:
        OSError: It cannot be read; `strerror` says why.
    """
    with open_regular(path, MOST_BYTES) as file:
        stored = file.read(os.fstat(file.fileno()).st_size) or b""
    return converted(stored) if convert else stored
