"""Which attributes of an object each learner's part shows: linear probes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deml_tf.errors import UsageError
from deml_tf.retrieval.grouped_ridge import fit_ridge

HALVINGS = 5
LEAST_CLASSES = 8


def probe_attributes(
    parts: np.ndarray,
    embedding: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    attributes: Mapping[str, Mapping[str, str]],
    *,
    frozen: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Read attributes of unseen classes from each part, and from the whole.

    A linear probe is fitted on one half of the classes and tested on the other, so that
    it reads the attribute and not the class: a ridge regression onto an indicator of
    each value, divided by the value's share; the greatest output wins. The results are
    means over `HALVINGS` halvings. An attribute that has a single value in every tested
    half is left out.

    Args:
        parts: (n, i, j, d).
        embedding: (n, e), the whole embedding.
        labels: (n,), the images' classes.
        attributes: For each class the values of its attributes, by name.
        frozen: (n, c), features to compare with; None, the default, for none.
        seed: Seed of the halvings; default 0.

    Returns:
        For each attribute its balanced accuracy (the mean over values of the share of
        images that are recognised): `chance`, 1 over the number of values; `whole`, of
        the embedding; `parts`, (i, j); and `frozen`, None without such features.

    Raises:
        UsageError: Fewer than `LEAST_CLASSES` classes.
    """
    classes = check_probed(labels)
    codes = np.searchsorted(classes, np.asarray(labels, str))
    values = {
        name: np.array([attributes[c][name] for c in classes.tolist()])[codes]
        for name in attributes[classes[0]]
    }
    scales, learners = parts.shape[1:3]
    read = {
        "whole": embedding,
        **{(i, j): parts[:, i, j] for i in range(scales) for j in range(learners)},
        **({} if frozen is None else {"frozen": frozen}),
    }
    found: dict[str, dict[Any, list[float]]] = {name: {} for name in values}
    random = np.random.default_rng(seed)
    for _ in range(HALVINGS):
        half = random.permutation(len(classes))[: len(classes) // 2]
        fitted = np.isin(codes, half)
        for what, features in read.items():
            for name, score in _probe(features, values, codes, fitted).items():
                found[name].setdefault(what, []).append(score)
        for name, value in values.items():
            chance = 1 / len(np.unique(value[~fitted]))
            found[name].setdefault("chance", []).append(chance)
    means = {
        name: {what: float(np.mean(scores)) for what, scores in row.items()}
        for name, row in found.items()
    }
    return {
        name: {
            "chance": row["chance"],
            "whole": row["whole"],
            "parts": [[row[i, j] for j in range(learners)] for i in range(scales)],
            "frozen": row.get("frozen"),
        }
        for name, row in means.items()
        if row["chance"] < 1
    }


def check_probed(labels: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return the sorted classes, if there are enough for `probe_attributes`.

    Args:
        labels: The images' classes.

    Raises:
        UsageError: There are fewer than `LEAST_CLASSES`.
    """
    classes = np.unique(np.asarray(labels, str))
    if len(classes) < LEAST_CLASSES:
        raise UsageError(
            f"probe_attributes=true needs {LEAST_CLASSES} classes, half of them to fit "
            f"a probe on, and there are {len(classes)}: give more."
        )
    return classes


def _probe(
    features: np.ndarray,
    values: Mapping[str, np.ndarray],
    codes: np.ndarray,
    fitted: np.ndarray,
) -> dict[str, float]:
    """Fit one probe of all attributes, and return the balanced accuracy of each."""
    known = {name: np.unique(value[fitted]) for name, value in values.items()}
    hits = [value[fitted, None] == known[name] for name, value in values.items()]
    targets = np.concatenate([hit / hit.mean(axis=0) for hit in hits], axis=1)
    features = features.astype(np.float64)
    ridge = fit_ridge(features[fitted], targets, codes[fitted])
    scores = ridge.predict(features[~fitted]).reshape(-1, targets.shape[1])
    ends = np.cumsum([len(each) for each in known.values()])
    found = {}
    for (name, each), own in zip(
        known.items(), np.split(scores, ends[:-1], axis=1), strict=True
    ):
        guessed, true = each[own.argmax(axis=1)], values[name][~fitted]
        recalls = [np.mean(guessed[true == value] == value) for value in set(true)]
        found[name] = float(np.mean(recalls))
    return found
