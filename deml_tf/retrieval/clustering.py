"""How well clusters found by k-means agree with the classes."""

import warnings
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import normalized_mutual_info_score
from threadpoolctl import threadpool_limits

_CAREFUL = 2**28  # rows x clusters x width, the cost of one k-means++ start


def nmi_of_kmeans(units: np.ndarray, codes: np.ndarray, seed: int = 0) -> float:
    """Return the normalised mutual information of k-means clusters and classes.

    2 I(clusters; classes) / (H(clusters) + H(classes)), with as many clusters as
    classes. Lloyd's k-means on unit rows, the best of three k-means++ starts; beyond
    about 2^28 numbers (rows x clusters x width), where three would take hours, one
    random start and 20 rounds, as is usual for Stanford Online Products.

    Args:
        units: (n, d) rows of length 1.
        codes: (n,) class numbers.
        seed: Seed of k-means' starts; default 0.

    Returns:
        From 0 to 1; 1 if there is only one class.
    """
    clusters = len(np.unique(codes))
    careful = units.size * clusters <= _CAREFUL
    starts: Any = 3 if careful else 1  # the stubs take n_init for a string
    kmeans = KMeans(
        clusters,
        init="k-means++" if careful else "random",
        n_init=starts,
        max_iter=100 if careful else 20,
        random_state=seed,
    )
    # In a small problem threads mostly wait for one another, for long on busy cores.
    threads = 1 if careful else None
    with threadpool_limits(threads), warnings.catch_warnings():
        # It warns of fewer distinct rows than classes; the score shows that too.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = kmeans.fit_predict(units)
    return float(normalized_mutual_info_score(codes, found))
