"""Every data set becomes one list of examples; all that follows sees only that list."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from deml_tf.data.example import ROLES, Box, Example
from deml_tf.data.sets import cars196, cub200_2011, in_shop, stanford_online_products
from deml_tf.data.sets.class_folders import read_class_folders
from deml_tf.data.sets.image_list import find_list, read_list
from deml_tf.data.sets.layout import find_folder
from deml_tf.errors import UsageError

__all__ = [
    "DATASETS",
    "ROLES",
    "Box",
    "Example",
    "check_dataset",
    "load_examples",
    "needs_folder",
    "read_list",
]

TFDS = "tfds:"  # in front of the name of a tensorflow-datasets set


class _Layout(NamedTuple):
    """Files by which a published data set is found, and what reads them."""

    files: tuple[str, ...]
    below: tuple[str, ...]
    description: str
    read: Callable[[Path], list[Example]]

    def __call__(self, where: Path) -> list[Example]:
        folder = find_folder(where, self.files, self.below, self.description)
        return self.read(folder)


_READERS: dict[str, Callable[[Path], list[Example]]] = {
    "folder": read_class_folders,
    "list": find_list,
    "cub200_2011": _Layout(
        cub200_2011.FILES,
        cub200_2011.BELOW,
        cub200_2011.LAYOUT,
        cub200_2011.read_cub200_2011,
    ),
    "cars196": cars196.read_cars196,
    "sop": _Layout(
        stanford_online_products.FILES,
        stanford_online_products.BELOW,
        stanford_online_products.LAYOUT,
        stanford_online_products.read_stanford_online_products,
    ),
    "in_shop": _Layout(
        in_shop.FILES, in_shop.BELOW, in_shop.LAYOUT, in_shop.read_in_shop
    ),
}
DATASETS = (*_READERS, "tfds:NAME", "plumage")


def needs_folder(dataset: str | None) -> bool:
    """Whether a data set is nothing without a `--data_dir`.

    Args:
        dataset: as for `load_examples`; only tensorflow-datasets has a folder itself.
    """
    return not str(dataset).startswith(TFDS)


def check_dataset(dataset: str, data_dir: str | os.PathLike[str] | None) -> None:
    """Refuses a data set that there cannot be, before anything is read or written.

    Args:
        dataset: as for `load_examples`.
        data_dir: as for `load_examples`; None as "".

    Raises:
        UsageError: unknown `dataset`, or nothing to read at `data_dir`.
    """
    if dataset.startswith(TFDS):
        if dataset == TFDS:
            raise UsageError(
                "--dataset=tfds: names no set; give one of tensorflow-datasets, such "
                "as --dataset=tfds:caltech_birds2011"
            )
        return
    if dataset not in _READERS:
        raise UsageError(
            f"--dataset={dataset} is unknown; use one of {', '.join(DATASETS)}"
        )
    if not data_dir or not os.fspath(data_dir):
        raise UsageError(f"--dataset={dataset} needs --data_dir; name its folder")
    where = Path(data_dir).expanduser()
    if not where.exists():
        raise UsageError(f"--data_dir={data_dir} does not exist; correct the path")
    if dataset != "list" and where.is_file():
        raise UsageError(
            f"--data_dir={data_dir} is a file; give a folder for --dataset={dataset}, "
            "or use --dataset=list for a list file"
        )


def load_examples(
    dataset: str, data_dir: str | os.PathLike[str] | None
) -> list[Example]:
    """Reads a data set's list of images, not the images.

    Args:
        dataset: what to read.
            `"folder"`: one folder a class in `data_dir` or in its `images` folder, in
            order of their names.
            `"list"`: a CSV or TSV file, or a folder holding `list.csv` or `list.tsv`;
            see `read_list`.
            `"cub200_2011"`, `"cars196"`, `"sop"`, `"in_shop"`: a benchmark in its
            official layout; see `benchmarks`.
            `"tfds:NAME"`: a set of tensorflow-datasets; see `tfds_sets`.
        data_dir: where it is; for tensorflow-datasets the folder that holds its sets,
            and "" or None for that library's own.

    Returns:
        The examples, in an order that depends on names (folders), rows (lists) or
        records (tensorflow-datasets) alone.

    Raises:
        UsageError: unknown `dataset`, or nothing to read at `data_dir`.
        DataError: what is there is not a data set.
    """
    check_dataset(dataset, data_dir)
    if dataset.startswith(TFDS):
        from deml_tf.data.sets.tfds import read_tfds

        return read_tfds(dataset.removeprefix(TFDS), data_dir)
    assert data_dir is not None  # checked
    return _READERS[dataset](Path(data_dir).expanduser())
