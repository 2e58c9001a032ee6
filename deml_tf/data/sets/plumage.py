"""Plumage, the drawn birds, as a data set: drawn on first use, then read as a list."""

from deml_tf.config import DataConfig
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.plumage.generator import write_plumage
from deml_tf.data.sets.image_list import read_list
from deml_tf.errors import UsageError, arguments_of


def read_plumage(data: DataConfig) -> list[Example]:
    """Draw Plumage at `data_dir` unless it is there, and read its list.

    Args:
        data: Names the folder, and says how many species and images to draw.

    Returns:
        The examples in the order of the list.

    Raises:
        UsageError: `data_dir` is not given, or holds something else.
        DataError: The folder's `plumage.json` cannot be read.
    """
    if not data.data_dir:
        raise UsageError("dataset=plumage needs data_dir=FOLDER; name it")
    with arguments_of("plumage", ("species", "images", "view")):
        folder = write_plumage(
            data.data_dir,
            species=data.plumage_species,
            images=data.plumage_images,
            view=data.plumage_view,
        )
    return read_list(folder / "annotations.csv")


PLUMAGE = DataSet(read_plumage, makes_data_dir=True)
