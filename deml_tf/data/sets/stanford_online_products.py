"""Stanford Online Products, as its archive unpacks."""

import os

from deml_tf.config import DataConfig
from deml_tf.data.data_folder import find_folder
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.existing_files import ExistingFiles
from deml_tf.data.list_files import read_lines, read_table, refuse_lines
from deml_tf.errors import DataError

FILES = ("Ebay_train.txt", "Ebay_test.txt")
LAYOUT = f"{' and '.join(FILES)} with the folders bicycle_final to toaster_final"
BELOW = ("Stanford_Online_Products",)
COLUMNS = ("image_id", "class_id", "super_class_id", "path")


def read_stanford_online_products(data: DataConfig) -> list[Example]:
    """Read the two lists, one to train on and one to test on.

    Args:
        data: Names the folder that holds the lists and the folders with the images.

    Returns:
        The examples in the order of the lists.

    Raises:
        UsageError: `data_dir` is not a folder.
        DataError: A line of a file is wrong, a class is in both lists, or an image is
            missing.
    """
    folder = find_folder(data, FILES, BELOW, LAYOUT)
    examples: list[Example] = []
    files, root = ExistingFiles(), os.fspath(folder)
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
        for line, (_, label, _, image) in read_table(path, COLUMNS, skip=1):
            image = os.path.normpath(os.path.join(root, image))
            if problem := files.problem(image):
                wrong.append(f"line {line}: {problem}")
            elif list_of.setdefault(label, name) != name:
                wrong.append(
                    f"line {line}: class {label} is in {list_of[label]} as well"
                )
            else:
                examples.append(Example(image, label, role))
        refuse_lines(path, wrong)
    return examples


# Ranks of Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding",
# CVPR 2016.
STANFORD_ONLINE_PRODUCTS = DataSet(
    read_stanford_online_products,
    counts={"train": (11_318, 59_551), "test": (11_316, 60_502)},
    ranks=(1, 10, 100, 1000),
)
