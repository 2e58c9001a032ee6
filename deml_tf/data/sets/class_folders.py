"""A folder of images for each class."""

import os
from pathlib import Path

from deml_tf.data.example import Example
from deml_tf.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
# Images too, though none that is read: listed, so that `scan` tells of them.
_OTHERS = (".avif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff")


def read_class_folders(where: Path) -> list[Example]:
    """Reads the names of the images in the class folders.

    Args:
        where: the folder that holds them, or whose folder `images` does.

    Returns:
        The examples, in order of the classes' and files' names.

    Raises:
        DataError: there is no class folder, or one of them holds no image.
    """
    root = where / "images"
    classes = _visible(root, folders=True) or _visible(root := where, folders=True)
    if not classes:
        raise DataError(
            f"{where} holds no class folders; put the images of each class into a "
            "folder of its own in there, or give another --data_dir"
        )
    examples, empty = [], []
    for label in classes:
        names = _visible(root / label, folders=False)
        names = [name for name in names if name.lower().endswith(SUFFIXES + _OTHERS)]
        examples += [Example(str(root / label / name), label) for name in names]
        empty += [label] * (not any(n.lower().endswith(SUFFIXES) for n in names))
    if empty:
        # Left out silently, they would move the border between the two halves.
        more = f" (and {len(empty) - 1} more folders)" if empty[1:] else ""
        raise DataError(
            f"the class folder {root / empty[0]} holds no image{more}; remove it or "
            f"put {', '.join(suffix[1:] for suffix in SUFFIXES)} files into it"
        )
    return examples


def _visible(where: Path, *, folders: bool) -> list[str]:
    """Sorted names of what is not hidden: the folders alone, or everything.

    A folder called x.jpg, or a link to nowhere, is for `scan` to tell of.
    """
    if not where.is_dir():
        return []
    with os.scandir(where) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and (entry.is_dir() or not folders)
        )
