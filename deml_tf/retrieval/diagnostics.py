"""Whether an embedding has collapsed, and whether its learners differ."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from deml_tf.retrieval.grouped_ridge import fit_ridge
from deml_tf.retrieval.inputs import unit_rows_float32

MOST_IMAGES = 2000  # that `learner_predictability` uses
CONSTANT = 1e-12  # variance below which unit vectors differ by rounding alone


def embedding_spread(embeddings: np.ndarray) -> dict[str, float]:
    """Measure how far embeddings are from all being the same, or on one line.

    Args:
        embeddings: (n, d), of any length, no row of zeros.

    Returns:
        For the vectors scaled to length one: `variance`, 1 - |their mean|^2: 0 where
        all are the same, 1 where they cancel out; and `effective_rank`, the
        participation ratio (sum of l)^2 / sum of l^2 of the eigenvalues l of their
        covariance: k where they spread equally in k directions, 0 where all are equal.
    """
    units = unit_rows_float32(embeddings)
    mean = units.mean(axis=0, dtype=np.float64)
    centred = units - mean.astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64) / len(units)
    trace = float(np.trace(covariance))
    rank = trace**2 / float(np.square(covariance).sum()) if trace > CONSTANT else 0.0
    return {"variance": max(0.0, 1 - float(mean @ mean)), "effective_rank": rank}


def learner_cosine(parts: np.ndarray) -> list[float | None]:
    """Compare the learners of each scale by their directions.

    Args:
        parts: (n, i, j, d), of length one.

    Returns:
        For each scale the mean cosine over images and pairs of learners; None for a
        single learner.
    """
    learners = parts.shape[2]
    if learners == 1:
        return [None] * parts.shape[1]
    joint = np.square(parts.sum(axis=2, dtype=np.float64)).sum(axis=-1)  # (n, i)
    own = np.square(parts.astype(np.float64)).sum(axis=(2, 3))
    pairs = learners * (learners - 1)
    return ((joint - own) / pairs).mean(axis=0).tolist()


def learner_predictability(
    parts: np.ndarray, labels: np.ndarray, seed: int = 0
) -> list[float | None]:
    """Measure how well one learner's part can be computed from another's.

    Ridge regression from a part to the others of its scale is fitted on the images of
    one half of the classes and scored on those of the other half by R^2: 1 - squared
    error / squared error of the first half's mean. Its penalty is chosen by
    cross-validation over classes of the first half. At most `MOST_IMAGES` images are
    used, chosen at random, so that it takes a few seconds at most.

    Args:
        parts: (n, i, j, d), as they are in the embedding.
        labels: (n,), the images' classes.
        seed: Seed of the choice of images and of the halves; default 0.

    Returns:
        For each scale the mean over ordered pairs of learners: 1 where each is a linear
        map of any other, about 0 or below where none predicts another. None for a
        single learner, for fewer than 4 classes, or where all parts are constant.
    """
    scales, learners = parts.shape[1:3]
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(parts))[:MOST_IMAGES])
    parts, labels = parts[chosen].astype(np.float64), labels[chosen]
    classes = random.permutation(np.unique(labels))
    if learners == 1 or len(classes) < 4:
        return [None] * scales
    fitted = np.isin(labels, classes[: len(classes) // 2])
    return [_mean(_predictions(parts[:, i], labels, fitted)) for i in range(scales)]


def _predictions(
    parts: np.ndarray, labels: np.ndarray, fitted: np.ndarray
) -> Iterable[float]:
    """Yield the R^2 of each ordered pair of a scale's learners, parts (n, j, d)."""
    learners = range(parts.shape[1])
    for source in learners:
        targets = [j for j in learners if j != source]
        wanted = parts[:, targets].reshape(len(parts), -1)
        ridge = fit_ridge(parts[fitted, source], wanted[fitted], labels[fitted])
        found = ridge.predict(parts[~fitted, source])
        found = found.reshape(len(found), len(targets), -1)
        for place, target in enumerate(targets):
            true, mean = parts[~fitted, target], parts[fitted, target].mean(axis=0)
            unknown = np.square(true - mean).sum()
            if unknown > CONSTANT * len(true):
                yield float(1 - np.square(true - found[:, place]).sum() / unknown)


def _mean(values: Iterable[float]) -> Any:
    values = list(values)
    return float(np.mean(values)) if values else None
