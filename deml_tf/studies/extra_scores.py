"""What a study can score of each run besides its unseen classes as they are."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from deml_tf.config import DataConfig
from deml_tf.data.layouts import LAYOUTS
from deml_tf.data.plumage.attributes import check_has_attributes
from deml_tf.errors import UsageError
from deml_tf.retrieval.probes import LEAST_CLASSES
from deml_tf.runs.folder import RunFolder
from deml_tf.studies.plan import Variant, of_variant

SEEN, ATTRIBUTES = "seen", "attributes"
LAID_OUT = tuple(layout for layout in LAYOUTS if layout != "as_is")
MEAN = "mean"  # over all attributes


class Scoring(NamedTuple):
    """How an extra score is computed.

    Attributes:
        argument: The argument of `deml_tf.evaluate` for it.
        file: The file that this writes into the folder of the run.
        key: A key that the file has only if this was scored.
    """

    argument: str
    file: str
    key: str = "object_attention"


EXTRA_SCORES = {
    SEEN: Scoring("--split=train", "scores_train.json"),
    ATTRIBUTES: Scoring("--probe_attributes", "scores_test.json", ATTRIBUTES),
    **{x: Scoring(f"--layout={x}", f"scores_test_{x}.json") for x in LAID_OUT},
}


def read_extra_scores(
    names: Iterable[str], variants: Iterable[Variant]
) -> tuple[str, ...]:
    """Check which extra scores are asked for.

    Args:
        names: Keys of `EXTRA_SCORES`.
        variants: Variants of the study.

    Returns:
        The names, each once.

    Raises:
        UsageError: There is no score of that name, or a data set has no attributes, or
            too few species to read them from.
    """
    found = tuple(dict.fromkeys(names))
    for name in found:
        if name not in EXTRA_SCORES:
            raise UsageError(
                f"also_score={name} is unknown; give one of {' '.join(EXTRA_SCORES)}."
            )
    if ATTRIBUTES in found:
        for variant in variants:
            with of_variant(variant.name):
                _check_attributes(variant.configs.data)
    return found


def _check_attributes(data: DataConfig) -> None:
    """Refuse to read attributes where there are none, or from too few species."""
    check_has_attributes("also_score=attributes", data.dataset)
    unseen = data.plumage_species - data.plumage_species // 2
    if unseen < LEAST_CLASSES:
        raise UsageError(
            f"also_score=attributes needs {LEAST_CLASSES} unseen species, and of "
            f"plumage_species={data.plumage_species} only {unseen} are unseen: give "
            f"plumage_species={2 * LEAST_CLASSES - 1} or more."
        )


def is_scored(folder: RunFolder, name: str) -> bool:
    """Tell whether the folder of a run has an extra score.

    Args:
        folder: The run's folder.
        name: A key of `EXTRA_SCORES`.

    Raises:
        DataError: The file is spoilt.
    """
    _, file, key = EXTRA_SCORES[name]
    return (folder.path / file).exists() and key in folder.read_json(file)


def extra_scores(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Read all extra scores that the folder of a run has.

    Args:
        folder: The run's folder.

    Returns:
        By name: for `seen` and layouts the scores of the whole embedding and of object
        attention; for `attributes` the probes' results for each, and their mean.

    Raises:
        DataError: A file is spoilt.
    """
    found = {}
    for name in EXTRA_SCORES:
        if is_scored(folder, name):
            content = folder.read_json(EXTRA_SCORES[name].file)
            if name == ATTRIBUTES:
                found[name] = _with_mean(content[ATTRIBUTES])
            else:
                key = "object_attention"
                found[name] = {**content.get("joined", {}), key: content[key]}
                found[name].pop("queries", None)
    return found


def _with_mean(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Add the means over the attributes."""
    each = list(attributes.values())
    what = [name for name in each[0] if each[0][name] is not None] if each else []
    mean = {
        name: np.mean([one[name] for one in each], axis=0).tolist() for name in what
    }
    return {**attributes, MEAN: mean}
