"""A folder of images for each class."""

import os
from pathlib import Path

from deml_tf.cli.printing import say
from deml_tf.config import DataConfig
from deml_tf.data.data_folder import data_folder
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.image_files import (
    SUFFIXES,
    count_left_out,
    find_image_files,
    is_folder,
    is_hidden,
)
from deml_tf.errors import DataError


def read_class_folders(data: DataConfig) -> list[Example]:
    """List the images in the class folders, at any depth, and print what is left out.

    `deml_tf.data.image_files` says what an image is. Images in formats that cannot be
    read are listed too, so that the scan reports them.

    Args:
        data: Names the folder that holds the class folders, itself or in its folder
            `images`.

    Returns:
        The examples, in order of the names of classes and files.

    Raises:
        UsageError: `data_dir` is not a folder.
        DataError: There is no class folder, one of them holds no image or has all of
            its images in folders of its own, or a folder cannot be read.
    """
    where = data_folder(data)
    try:
        examples, left_out = _read(where / "images") or _read(where) or ([], [])
    except OSError as error:
        raise DataError(
            f"the folder {error.filename} cannot be read ({error.strerror}); change "
            "its permissions, or take it out of the data set"
        ) from error
    if not examples:
        raise DataError(
            f"{where} holds no class folders; put the images of each class into a "
            "folder of its own in there, or give another data_dir=FOLDER"
        )
    if left_out:
        say(count_left_out(left_out))
    return examples


def _read(root: Path) -> tuple[list[Example], list[str]] | None:
    """Return the images of class folders, and what is left out; None without any."""
    if not root.is_dir():
        return None
    with os.scandir(root) as entries:
        below = sorted(entries, key=lambda entry: entry.name)
    classes = [e.name for e in below if is_folder(e) and not is_hidden(e.name)]
    known = set(classes)
    left_out = [entry.path for entry in below if entry.name not in known]
    examples, empty = [], []
    for label in classes:
        found = find_image_files(root / label)
        _refuse_deeper(root / label, found.images)
        examples += [Example(path, label) for path in found.images]
        empty += [label] * (not found.images)
        left_out += found.left_out
    if empty:
        # Left out silently, they would move the border between the two halves.
        more = f" (and {len(empty) - 1} more folders)" if empty[1:] else ""
        raise DataError(
            f"the class folder {root / empty[0]} holds no image{more}; remove it or "
            f"put {', '.join(suffix[1:] for suffix in SUFFIXES)} files into it"
        )
    return (examples, left_out) if classes else None


def _refuse_deeper(folder: Path, images: list[str]) -> None:
    """Refuse what may well be a folder of classes: train/, test/, or a family."""
    if images and all(os.path.dirname(path) != str(folder) for path in images):
        raise DataError(
            f"{folder} holds all of its images in folders, such as {images[0]}; if "
            f"these are the classes, give data_dir={folder}, or else move the images "
            "up, or list them with their classes and roles for dataset=list"
        )


CLASS_FOLDERS = DataSet(read_class_folders)
