"""Caltech-UCSD Birds 200-2011 (CUB-200-2011), as its archive unpacks."""

import os
import re
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from deml_tf.config import DataConfig
from deml_tf.data.boxes import relative_box
from deml_tf.data.data_folder import find_folder
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.existing_files import ExistingFiles
from deml_tf.data.list_files import read_table, refuse_lines
from deml_tf.errors import DataError

FILES = ("images.txt", "image_class_labels.txt", "classes.txt")
BOXES = "bounding_boxes.txt"
LAYOUT = f"{', '.join(FILES)}, {BOXES} and images/"
BELOW = ("CUB_200_2011",)


def read_cub200_2011(data: DataConfig) -> list[Example]:
    """Read the lists of CUB-200-2011, whose columns its README explains.

    The first half of the classes by number is trained on (100 of 200), the other half
    is tested on. This is the zero-shot protocol; `train_test_split.txt` is not used.
    Boxes need the size in the header of every image. Without `bounding_boxes.txt` there
    are none.

    Args:
        data: Names the folder that holds the lists and `images`.

    Returns:
        The examples in the order of `images.txt`.

    Raises:
        UsageError: `data_dir` is not a folder.
        DataError: A line of a file is wrong, or an image is missing.
    """
    folder = find_folder(data, FILES, BELOW, LAYOUT)
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
    files = ExistingFiles()
    examples, wrong = {}, []
    for image, (line, (name,)) in paths.items():
        path = os.path.normpath(folder / "images" / name)
        if problem := files.problem(path):
            wrong.append(f"line {line}: {problem}")
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
    """Return line and cells by the id, which stands in the first column."""
    found: dict[str, tuple[int, list[str]]] = {}
    wrong = []
    for line, (name, *cells) in read_table(path, columns):
        if not re.fullmatch("[0-9]{1,18}", name):
            wrong.append(
                f"line {line}: the {columns[0]} is {name[:40]}, no whole number of up "
                "to 18 digits"
            )
        elif name in found:
            wrong.append(
                f"line {line}: {columns[0]} {name} is in line {found[name][0]}"
            )
        else:
            found[name] = line, cells
    refuse_lines(path, wrong)
    return found


def _check_ids(
    path: Path, rows: dict[str, tuple[int, list[str]]], images: Container[str]
) -> None:
    wrong = [
        f"line {line}: image {image} is not in images.txt"
        for image, (line, _) in rows.items()
        if image not in images
    ]
    refuse_lines(path, wrong)


CUB200_2011 = DataSet(
    read_cub200_2011, counts={"train": (100, 5_864), "test": (100, 5_924)}
)
