"""A folder of images for each class."""

import os
from pathlib import Path

from deml_tf.config import DataConfig
from deml_tf.data.data_folder import data_folder
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.image_files import SUFFIXES, is_hidden, is_image
from deml_tf.errors import DataError


def read_class_folders(data: DataConfig) -> list[Example]:
    """List the images in the class folders.

    Images in formats that cannot be read are listed too, so that the scan reports
    them.

    Args:
        data: Names the folder that holds the class folders, or whose folder `images`
            does.

    Returns:
        The examples, in order of the names of classes and files.

    Raises:
        UsageError: `data_dir` is no folder.
        DataError: There is no class folder, or one of them holds no image.
    """
    where = data_folder(data)
    root = where / "images"
    classes = _class_names(root) or _class_names(root := where)
    if not classes:
        raise DataError(
            f"{where} holds no class folders; put the images of each class into a "
            "folder of its own in there, or give another data_dir=FOLDER"
        )
    examples, empty = [], []
    for label in classes:
        # A folder called x.jpg, or a link to nowhere, is for the scan to report.
        names = sorted(os.listdir(root / label))
        names = [name for name in names if is_image(name, readable=False)]
        examples += [Example(str(root / label / name), label) for name in names]
        empty += [label] * (not any(map(is_image, names)))
    if empty:
        # Left out silently, they would move the border between the two halves.
        more = f" (and {len(empty) - 1} more folders)" if empty[1:] else ""
        raise DataError(
            f"the class folder {root / empty[0]} holds no image{more}; remove it or "
            f"put {', '.join(suffix[1:] for suffix in SUFFIXES)} files into it"
        )
    return examples


def _class_names(root: Path) -> list[str]:
    """Names of the folders in a folder that are not hidden, sorted."""
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not is_hidden(e.name))


CLASS_FOLDERS = DataSet(read_class_folders)
