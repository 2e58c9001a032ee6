"""The data sets that can be named: to add one, write its file and one line here."""

import re
from dataclasses import replace

from deml_tf.data.data_set import DataSet
from deml_tf.data.sets import (
    cars196,
    class_folders,
    cub200_2011,
    image_list,
    in_shop,
    plumage,
    stanford_online_products,
    tfds,
)
from deml_tf.errors import UsageError

SETS: dict[str, DataSet] = {
    "folder": class_folders.CLASS_FOLDERS,
    "list": image_list.IMAGE_LIST,
    "cub200_2011": cub200_2011.CUB200_2011,
    "cars196": cars196.CARS196,
    "sop": stanford_online_products.STANFORD_ONLINE_PRODUCTS,
    "in_shop": in_shop.IN_SHOP,
    "tfds:NAME": tfds.TFDS,
    "plumage": plumage.PLUMAGE,
}
"""Data set by the name that `dataset` gives; NAME stands for any name."""


def find_set(dataset: str | None) -> DataSet:
    """Return the data set of a name.

    Args:
        dataset: A key of `SETS`, such as `cub200_2011`, or `tfds:` and the name of a
            set of tensorflow-datasets.

    Returns:
        The data set. A benchmark from tensorflow-datasets has the counts and ranks of
        the same benchmark in its official layout.

    Raises:
        UsageError: There is no such data set.
    """
    kind, colon, name = str(dataset).partition(":")
    key = f"{kind}:NAME" if colon else kind
    if key not in SETS:
        raise UsageError(f"dataset={dataset} is unknown; use one of {', '.join(SETS)}")
    # A version or a configuration may follow the name.
    benchmark = tfds.BENCHMARKS.get(re.split("[/:]", name)[0])
    if SETS[key] is not tfds.TFDS or not benchmark:
        return SETS[key]
    same = SETS[benchmark]
    return replace(tfds.TFDS, counts=same.counts, ranks=same.ranks)
