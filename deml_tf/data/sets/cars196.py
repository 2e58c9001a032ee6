"""Stanford's Cars (Cars196), as its archives unpack or as class folders."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from deml_tf.config import DataConfig
from deml_tf.data.boxes import relative_box
from deml_tf.data.data_folder import data_folder, find_folder
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.existing_files import ExistingFiles
from deml_tf.data.list_files import refuse_lines
from deml_tf.data.sets.class_folders import read_class_folders
from deml_tf.errors import DataError

FILES = ("cars_annos.mat",)
LAYOUT = "cars_annos.mat and car_ims/, or one folder a class"
IMAGES = "car_ims"
FIELDS = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")


def read_cars196(data: DataConfig) -> list[Example]:
    """Read `cars_annos.mat`, or class folders if there is none.

    The first half of the classes by number is trained on (98 of 196), the other half is
    tested on. This is the zero-shot protocol; the field `test` is not used. Class
    folders are halved by their names.

    Args:
        data: Names the folder that holds `cars_annos.mat` and `car_ims`, or the class
            folders.

    Returns:
        The examples in the order of the annotations, or of the folders.

    Raises:
        UsageError: `data_dir` is not a folder.
        DataError: The file is missing or of another form, an annotation is wrong, or
            an image is missing.
    """
    where = data_folder(data)
    if not (where / FILES[0]).is_file() and not (where / IMAGES).is_dir():
        return read_class_folders(data)
    path = find_folder(data, FILES, (), LAYOUT) / FILES[0]
    annotations, names = _read_mat(path)
    examples, wrong = [], []
    files = ExistingFiles()
    for n, (name, x1, y1, x2, y2, number) in enumerate(annotations, 1):
        image = os.path.normpath(where / name)
        try:
            if not 1 <= number <= len(names):
                raise DataError(f"class {number} is not one of 1 to {len(names)}")
            if problem := files.problem(image):
                raise DataError(problem)
            # MATLAB counts pixels from 1, both ends included.
            box = relative_box(image, (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1))
        except DataError as problem:
            wrong.append(f"annotation {n}: {problem}")
            continue
        label = f"{number:03d} {names[number - 1]}"
        role = "train" if number <= len(names) // 2 else "test"
        examples.append(Example(image, label, role, box))
    refuse_lines(path, wrong)
    return examples


def _read_mat(path: Path) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return path, box and class of each annotation, and the names of the classes."""
    try:
        mat = scipy.io.loadmat(path, squeeze_me=True)
    except Exception as error:  # scipy raises a dozen kinds of error on non-.mat files
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"cannot read {path} ({reason}); take the file from the data set's page "
            "again"
        ) from error
    missing = [name for name in ("annotations", "class_names") if name not in mat]
    rows = np.atleast_1d(mat.get("annotations", np.empty(0)))
    missing += [f for f in FIELDS if not missing and f not in (rows.dtype.names or ())]
    if missing:
        raise DataError(
            f"{path} has no {' and no '.join(missing)}; give the cars_annos.mat that "
            "lists all images, not one of the devkit's"
        )
    annotations, wrong = [], []
    for n, row in enumerate(rows, 1):
        try:
            numbers = [int(row[field]) for field in FIELDS[1:]]
            annotations.append((str(row[FIELDS[0]]), *numbers))
        except (TypeError, ValueError, OverflowError) as error:
            wrong.append(f"annotation {n}: not five whole numbers ({error})")
    refuse_lines(path, wrong)
    return annotations, [str(name) for name in np.atleast_1d(mat["class_names"])]


CARS196 = DataSet(read_cars196, counts={"train": (98, 8_054), "test": (98, 8_131)})
