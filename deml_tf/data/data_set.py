"""What describes a data set: how to read it, and what is published about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deml_tf.config import DataConfig
from deml_tf.data.example import Example


@dataclass(frozen=True)
class DataSet:
    """One kind of data set, registered in `deml_tf.data.sets.SETS`.

    Attributes:
        read: Lists the images of the data set that a `DataConfig` names. It reads
            names, labels, roles and boxes, not the images.
        counts: Published number of classes and of images by role (train, test and, if
            there is one, gallery), before classes are held out for validation. Other
            counts cause a warning. Empty if nothing is published.
        ranks: Ranks K at which Recall@K is usually reported.
        needs_data_dir: Whether `data_dir` has to be given.
        makes_data_dir: Whether `data_dir` is made on first use.
        lists_validation: Whether it may give images the role validation.
    """

    read: Callable[[DataConfig], list[Example]]
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    ranks: tuple[int, ...] = (1, 2, 4, 8)
    needs_data_dir: bool = True
    makes_data_dir: bool = False
    lists_validation: bool = False
