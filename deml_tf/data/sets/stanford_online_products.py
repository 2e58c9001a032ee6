"""Stanford Online Products, as its archive unpacks."""

import os
from pathlib import Path

from deml_tf.data.example import Example
from deml_tf.data.folder_index import FolderIndex
from deml_tf.data.word_table import read_lines, read_words, refuse_lines
from deml_tf.errors import DataError

FILES = ("Ebay_train.txt", "Ebay_test.txt")
LAYOUT = f"{' and '.join(FILES)} with the folders bicycle_final to toaster_final"
BELOW = ("Stanford_Online_Products",)
COLUMNS = ("image_id", "class_id", "super_class_id", "path")


def read_stanford_online_products(folder: Path) -> list[Example]:
    """Reads the two lists, which say what is trained and what is tested on.

    Args:
        folder: holds the lists and the folders with the images.

    Returns:
        The examples in the order of the lists.

    Raises:
        DataError: the file and line that is wrong, a class in both lists, or the
            image that is not there.
    """
    examples: list[Example] = []
    files, root = FolderIndex(), os.fspath(folder)
    list_of: dict[str, str] = {}  # class -> the list it is in
    for name, role in zip(FILES, ("train", "test"), strict=True):
        path = folder / name
        header = read_lines(path)[0].split()
        if header != list(COLUMNS):
            raise DataError(
                f"{path}, line 1: the header is {' '.join(header)!r}, not "
                f"{' '.join(COLUMNS)!r}; take the file from the archive again"
            )
        wrong = []
        for line, (_, label, _, image) in read_words(path, COLUMNS, skip=1):
            image = os.path.normpath(os.path.join(root, image))
            if not files.holds(image):
                wrong.append(f"line {line}: there is no file {image}")
            elif list_of.setdefault(label, name) != name:
                wrong.append(
                    f"line {line}: class {label} is in {list_of[label]} as well"
                )
            else:
                examples.append(Example(image, label, role))
        refuse_lines(path, wrong)
    return examples
