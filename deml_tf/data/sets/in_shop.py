"""DeepFashion's In-shop Clothes Retrieval Benchmark, as its archives unpack."""

import os
from pathlib import Path

from deml_tf.data.example import Example
from deml_tf.data.folder_index import FolderIndex
from deml_tf.data.word_table import read_lines, read_words, refuse_lines
from deml_tf.errors import DataError

FILES = ("list_eval_partition.txt",)
LAYOUT = "Eval/list_eval_partition.txt and Img/img/"
BELOW = ("Eval", "Anno", "In-shop Clothes Retrieval Benchmark/Eval")
COLUMNS = ("image_name", "item_id", "evaluation_status")
ROLES = ("train", "query", "gallery")


def read_in_shop(folder: Path) -> list[Example]:
    """Reads the partition: items to train on, and queries with their gallery.

    Args:
        folder: holds the list; the images' names begin with `img/`, which is looked
            for there, beside it, and in `Img` there and beside it.

    Returns:
        The examples in the order of the list; the item is the class.

    Raises:
        DataError: the line that is wrong, an item both in training and test, a list
            that is cut short, or the image that is not there.
    """
    path = folder / FILES[0]
    announced, header = ([*read_lines(path), "", ""])[:2]
    if not (announced.strip().isascii() and announced.strip().isdecimal()):
        raise DataError(
            f"{path}, line 1: {announced.strip()!r} is not the number of images; "
            "take the file from the archive again"
        )
    if header.split() != list(COLUMNS):
        raise DataError(
            f"{path}, line 2: the header is {' '.join(header.split())!r}, not "
            f"{' '.join(COLUMNS)!r}; take the file from the archive again"
        )
    rows = read_words(path, COLUMNS, skip=2)
    if len(rows) != int(announced):
        raise DataError(
            f"{path}, line 1: {int(announced)} images are announced and {len(rows)} "
            "listed; take the file from the archive again"
        )
    root = os.fspath(_images(folder))
    examples, wrong = [], []
    files = FolderIndex()
    first: dict[str, tuple[bool, int]] = {}  # item -> whether trained on, and its line
    for line, (name, item, role) in rows:
        image = os.path.normpath(os.path.join(root, name))
        trained = role == "train"
        if role not in ROLES:
            wrong.append(
                f"line {line}: evaluation_status is {role!r}, not one of "
                f"{', '.join(ROLES)}"
            )
        elif not files.holds(image):
            wrong.append(f"line {line}: there is no file {image}")
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
