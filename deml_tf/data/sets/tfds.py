"""The image sets of tensorflow-datasets, named `tfds:NAME`."""

from deml_tf.config import DataConfig
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.errors import UsageError

BENCHMARKS = {
    "caltech_birds2011": "cub200_2011",
    "cars196": "cars196",
    "stanford_online_products": "sop",
}
"""Sets of tensorflow-datasets that are also here in their official layout."""


def read(data: DataConfig) -> list[Example]:
    """Read a set of tensorflow-datasets, and prepare it first if need be.

    Args:
        data: Names the set, `tfds:NAME`, and the folder that holds prepared sets,
            by default the library's own.

    Returns:
        The examples in the order of splits and records.

    Raises:
        UsageError: There is no such set, or it has no images or no classes.
        DataError: It cannot be prepared, or what is prepared cannot be used.
    """
    name = str(data.dataset).partition(":")[2]
    if not name:
        raise UsageError(
            "dataset=tfds: names no set; give one of tensorflow-datasets, such as "
            "dataset=tfds:caltech_birds2011"
        )
    # Slow to import, and needed for these sets only.
    from deml_tf.data.sets.tfds_reader import read_tfds

    return read_tfds(name, data.data_dir)


TFDS = DataSet(read, needs_data_dir=False, lists_validation=True)
