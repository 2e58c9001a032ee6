"""Scores of queries, from which of their neighbours are of the query's class.

`relevant` is (b, k) booleans, best neighbour first, without the query itself. `counts`
is (b,), the number R of images of its class that each query could find, at least 1.
Each function returns one number per query; the metric is their mean.
"""

import numpy as np


def first_hits(relevant: np.ndarray) -> np.ndarray:
    """Return the rank of the first neighbour of the query's class, inf where none is.

    Ranks count from 1. Recall@K is the share of queries whose first hit is at most K.

    Args:
        relevant: (b, k) booleans.

    Returns:
        (b,) float64.
    """
    return np.where(relevant.any(axis=1), relevant.argmax(axis=1) + 1.0, np.inf)


def r_precision(relevant: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the share of the query's class among its first R neighbours.

    Args:
        relevant: (b, k) booleans, k at least the greatest of `counts`.
        counts: (b,) integers R, each at least 1.

    Returns:
        (b,) float64, from 0 to 1.
    """
    return _within_r(relevant, counts).sum(axis=1) / counts


def average_precision_at_r(relevant: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the average precision over the first R neighbours; its mean is MAP@R.

    `(1/R) sum_{k=1..R} relevant_k * (relevant_1 + ... + relevant_k) / k`
    (Musgrave et al., "A Metric Learning Reality Check", ECCV 2020, section 3.3).

    Args:
        relevant: (b, k) booleans, k at least the greatest of `counts`.
        counts: (b,) integers R, each at least 1.

    Returns:
        (b,) float64, from 0 to 1.
    """
    within = _within_r(relevant, counts)
    precision = np.cumsum(within, axis=1) / np.arange(1, within.shape[1] + 1)
    return np.where(within, precision, 0.0).sum(axis=1) / counts


def _within_r(relevant: np.ndarray, counts: np.ndarray) -> np.ndarray:
    deepest = counts.max()
    if relevant.shape[1] < deepest:
        raise ValueError(f"{relevant.shape[1]} neighbours are too few for R={deepest}.")
    return relevant[:, :deepest] & (np.arange(deepest) < counts[:, None])
