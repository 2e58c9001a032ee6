"""DeepFashion's In-shop Clothes Retrieval Benchmark, as its archives unpack."""

import os
import re
from pathlib import Path

from deml_tf.config import DataConfig
from deml_tf.data.data_folder import find_folder
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.existing_files import ExistingFiles
from deml_tf.data.list_files import read_lines, read_table, refuse_lines
from deml_tf.errors import DataError

FILES = ("list_eval_partition.txt",)
LAYOUT = "Eval/list_eval_partition.txt and Img/img/"
BELOW = ("Eval", "Anno", "In-shop Clothes Retrieval Benchmark/Eval")
COLUMNS = ("image_name", "item_id", "evaluation_status")
ROLES = ("train", "query", "gallery")


def read_in_shop(data: DataConfig) -> list[Example]:
    """Read the partition: items to train on, and queries with their gallery.

    Args:
        data: Names the folder of the list, or one above it. The names of the images
            begin with `img/`. That folder is looked for beside the list, one folder
            up, and in the folder `Img` of both.

    Returns:
        The examples in the order of the list; the item is the class.

    Raises:
        UsageError: `data_dir` is not a folder.
        DataError: A line is wrong, an item is both trained and tested on, the list is
            cut short, or an image is missing.
    """
    folder = find_folder(data, FILES, BELOW, LAYOUT)
    path = folder / FILES[0]
    announced, header = ([*read_lines(path), "", ""])[:2]
    announced = announced.strip()
    if not re.fullmatch("[0-9]{1,18}", announced):
        raise DataError(
            f"{path}, line 1: {announced[:40]!r} is not the number of images; "
            "take the file from the archive again"
        )
    if header.split() != list(COLUMNS):
        raise DataError(
            f"{path}, line 2: the header is {' '.join(header.split())!r}, not "
            f"{' '.join(COLUMNS)!r}; take the file from the archive again"
        )
    rows = read_table(path, COLUMNS, skip=2)
    if len(rows) != int(announced):
        raise DataError(
            f"{path}, line 1: {int(announced)} images are announced and {len(rows)} "
            "listed; take the file from the archive again"
        )
    root = os.fspath(_images(folder))
    examples, wrong = [], []
    files = ExistingFiles()
    first: dict[str, tuple[bool, int]] = {}  # item -> whether trained on, and its line
    for line, (name, item, role) in rows:
        image = os.path.normpath(os.path.join(root, name))
        trained = role == "train"
        if role not in ROLES:
            wrong.append(
                f"line {line}: evaluation_status is {role!r}, not one of "
                f"{', '.join(ROLES)}"
            )
        elif problem := files.problem(image):
            wrong.append(f"line {line}: {problem}")
        elif first.setdefault(item, (trained, line))[0] != trained:
            wrong.append(
                f"line {line}: {item} is {role} and in line {first[item][1]} "
                f"{'not ' * trained}train"
            )
        else:
            examples.append(Example(image, item, role))
    refuse_lines(path, wrong)
    return examples


def _images(folder: Path) -> Path:
    places = [folder, folder / "Img", folder.parent / "Img", folder.parent]
    for place in places:
        if (place / "img").is_dir():
            return place
    looked = ", ".join(map(str, places[:-1]))
    raise DataError(
        f"there is no folder img in {looked} or {places[-1]}; unpack img.zip there"
    )


# Ranks of Liu et al., "DeepFashion: Powering Robust Clothes Recognition and Retrieval
# with Rich Annotations", CVPR 2016.
IN_SHOP = DataSet(
    read_in_shop,
    counts={
        "train": (3_997, 25_882),
        "test": (3_985, 14_218),
        "gallery": (3_985, 12_612),
    },
    ranks=(1, 10, 20, 30),
)
