"""The scores that a study has of the training that is exported."""

from collections.abc import Mapping
from pathlib import Path

from deml_tf.errors import UsageError
from deml_tf.studies.intervals import Estimate, estimate
from deml_tf.studies.records import read_records


def scores_over_seeds(study: str, variant: str | None) -> Mapping[str, Estimate]:
    """Average the scores of a variant over its seeds.

    Args:
        study: A study.json.
        variant: Its variant; None where it has but one.

    Returns:
        An estimate by name of the score.

    Raises:
        UsageError: There is no such file or variant, or it does not say which.
        DataError: The file is not what a study writes.
    """
    path = Path(study)
    if not path.is_file():
        raise UsageError(f"study={study} is no file: name the study.json of a study.")
    records = read_records(path).values()
    names = sorted({record.variant for record in records})
    if variant is None and len(names) == 1:
        (variant,) = names
    if variant not in names:
        raise UsageError(
            f"study_variant={variant} is no variant of {study}: give one of "
            f"{', '.join(names)}."
        )
    runs = [r.numbers for r in records if r.variant == variant]
    found = {
        name: estimate(numbers[name] for numbers in runs if name in numbers)
        for name in runs[0]
    }
    return {name: value for name, value in found.items() if value is not None}
