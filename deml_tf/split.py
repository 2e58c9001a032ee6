"""The pictures of a run: read, split into seen and unseen classes, counted."""

from deml_tf.data.catalog import load_examples
from deml_tf.data.plumage import write_plumage
from deml_tf.data.splits import protocol, zero_shot_split


def read_split(data, seed):
    """Reads a data set and prints what is seen and what is not.

    Args:
        data: The `DataConfig`.
        seed: Of the choice of validation classes.

    Returns:
        The `Split`.
    """
    if data.dataset == "plumage":
        plumage = write_plumage(
            data.data_dir,
            species=data.plumage_species,
            pictures=data.plumage_pictures,
        )
        examples = load_examples("list", plumage / "annotations.csv")
    else:
        examples = load_examples(data.dataset, data.data_dir)
    split = zero_shot_split(examples, data.validation_classes, seed)
    counts = protocol(split)
    for role in ("train", "validation", "test"):
        if counts[f"{role}_classes"]:
            print(
                f"{role}: {counts[f'{role}_classes']} classes, "
                f"{counts[f'{role}_images']} images"
            )
    return split
