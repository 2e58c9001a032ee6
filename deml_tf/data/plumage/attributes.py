"""The attributes of the species of a Plumage that is on disk."""

import csv
import os
from pathlib import Path

from deml_tf.data.plumage.species import ATTRIBUTES
from deml_tf.errors import DataError


def read_attributes(
    directory: str | os.PathLike[str],
) -> dict[str, dict[str, str]]:
    """Read what each species looks like.

    Args:
        directory: A folder written by `write_plumage`.

    Returns:
        For each label the value of each of `ATTRIBUTES`.

    Raises:
        DataError: The list of the images cannot be read, or names no attributes.
    """
    path = Path(directory) / "annotations.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["label"]: {name: row[name] for name in ATTRIBUTES}
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} names no attributes of the species ({error}): remove "
            f"{path.parent} and draw it again."
        ) from error
