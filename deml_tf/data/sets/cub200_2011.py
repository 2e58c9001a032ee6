"""Caltech-UCSD Birds 200-2011 (CUB-200-2011), as its archive unpacks."""

import os
from dataclasses import replace
from pathlib import Path

from deml_tf.data.example import Example
from deml_tf.data.folder_index import FolderIndex
from deml_tf.data.pixel_box import relative_box
from deml_tf.data.word_table import read_words, refuse_lines
from deml_tf.errors import DataError

FILES = ("images.txt", "image_class_labels.txt", "classes.txt")
BOXES = "bounding_boxes.txt"
LAYOUT = f"{', '.join(FILES)}, {BOXES} and images/"
BELOW = ("CUB_200_2011",)


def read_cub200_2011(folder: Path) -> list[Example]:
    """Reads the lists of CUB-200-2011; its README gives their columns.

    The first half of the classes by number is seen (100 of 200), and the other is
    not: the zero-shot protocol, which ignores `train_test_split.txt`. Boxes need the
    size in every image's header; without `bounding_boxes.txt` there are none.

    Args:
        folder: holds the lists and `images`.

    Returns:
        The examples in the order of `images.txt`.

    Raises:
        DataError: the file and line that is wrong, or the image that is not there.
    """
    classes = _by_id(folder / "classes.txt", ("class_id", "class_name"))
    paths = _by_id(folder / "images.txt", ("image_id", "image_name"))
    classes_of = _by_id(folder / "image_class_labels.txt", ("image_id", "class_id"))
    _check_ids(folder / "image_class_labels.txt", classes_of, paths)
    wrong = [
        f"line {line}: class {number} is not in classes.txt"
        for line, (number,) in classes_of.values()
        if number not in classes
    ]
    refuse_lines(folder / "image_class_labels.txt", wrong)
    seen = set(sorted(classes, key=int)[: len(classes) // 2])
    files = FolderIndex()
    examples, wrong = {}, []
    for image, (line, (name,)) in paths.items():
        path = os.path.normpath(folder / "images" / name)
        if not files.holds(path):
            wrong.append(f"line {line}: there is no file {path}")
        elif image not in classes_of:
            wrong.append(f"line {line}: image {image} has no class in {FILES[1]}")
        else:
            (number,) = classes_of[image][1]
            role = "train" if number in seen else "test"
            examples[image] = Example(path, classes[number][1][0], role)
    refuse_lines(folder / "images.txt", wrong)
    if (folder / BOXES).is_file():
        examples |= _with_boxes(folder / BOXES, examples)
    return list(examples.values())


def _with_boxes(path: Path, examples: dict[str, Example]) -> dict[str, Example]:
    cells = _by_id(path, ("image_id", "x", "y", "width", "height"))
    _check_ids(path, cells, examples)
    found, wrong = {}, []
    for image, (line, values) in cells.items():
        try:
            box = relative_box(examples[image].path, values)
            found[image] = replace(examples[image], box=box)
        except DataError as problem:
            wrong.append(f"line {line}: {problem}")
    refuse_lines(path, wrong)
    return found


def _by_id(path: Path, columns: tuple[str, ...]) -> dict[str, tuple[int, list[str]]]:
    """Line and cells of each id, which stands in the first column."""
    found: dict[str, tuple[int, list[str]]] = {}
    wrong = []
    for line, (name, *cells) in read_words(path, columns):
        if not (name.isascii() and name.isdecimal()):
            wrong.append(f"line {line}: the {columns[0]} is {name}, no whole number")
        elif name in found:
            wrong.append(
                f"line {line}: {columns[0]} {name} is in line {found[name][0]}"
            )
        else:
            found[name] = line, cells
    refuse_lines(path, wrong)
    return found


def _check_ids(path: Path, rows: dict[str, tuple[int, list[str]]], images) -> None:
    wrong = [
        f"line {line}: image {image} is not in images.txt"
        for image, (line, _) in rows.items()
        if image not in images
    ]
    refuse_lines(path, wrong)
