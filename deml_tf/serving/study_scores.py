"""The scores that a study has of the training that is exported."""

from collections.abc import Mapping
from pathlib import Path

from deml_tf.errors import UsageError
from deml_tf.studies.intervals import Estimate
from deml_tf.studies.study_file import read_means


def scores_over_seeds(study: str, variant: str | None) -> Mapping[str, Estimate]:
    """Return the means of a variant's scores, as the study has them.

    Args:
        study: Path of a study.json.
        variant: Name of the variant; None if the study has only one.

    Returns:
        An estimate by name of the score.

    Raises:
        UsageError: There is no such file or variant, or none is named of several.
        DataError: The file is not what a study writes.
    """
    path = Path(study)
    if not path.is_file():
        raise UsageError(f"study={study} is no file: name the study.json of a study.")
    means = read_means(path)
    names = sorted(means)
    if variant is None and len(names) == 1:
        (variant,) = names
    if variant not in names:
        raise UsageError(
            f"study_variant={variant} is no variant of {study}: give one of "
            f"{', '.join(names)}."
        )
    return means[variant]
