"""The attributes of the species of a Plumage that is on disk."""

import csv
import os
from pathlib import Path

from deml_tf.data.plumage.species import ATTRIBUTES
from deml_tf.errors import DataError, UsageError


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
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}): put the data set back there."
        ) from error
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path} names no attributes of the species ({error}): remove "
            f"{path.parent} and draw it again."
        ) from error


def check_has_attributes(asked: str, dataset: str | None) -> None:
    """Refuse to read attributes where there are none.

    Args:
        asked: What asks for them, such as "probe_attributes=true".
        dataset: Name of the data set.

    Raises:
        UsageError: It is not Plumage.
    """
    if dataset != "plumage":
        raise UsageError(
            f"{asked} reads the attributes of dataset=plumage, which "
            f"dataset={dataset} has not: leave it out."
        )
