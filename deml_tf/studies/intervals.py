"""Means over seeds, with the interval in which to expect the mean over all seeds.

Student, "The probable error of a mean" (Biometrika 6, 1908).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        n: Number of seeds.
        mean: Mean of the values.
        deviation: Standard deviation, with n - 1 degrees of freedom; None for one seed.
        low: Lower end of the interval; None for one seed.
        high: Upper end of the interval; None for one seed.
    """

    n: int
    mean: float
    deviation: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def half(self) -> float | None:
        """Half of the interval's length; None for one seed."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and 0 lies outside it."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


def estimate(values: Iterable[float]) -> Estimate | None:
    """Estimate the mean over all seeds from some of them.

    With s the standard deviation of n values, the interval is

        mean -+ t * s / sqrt(n)

    where t is the quantile of Student's distribution with n - 1 degrees of freedom that
    leaves out half of 5 % at each end. It holds the true mean in 95 % of studies if the
    values are normally distributed.

    Args:
        values: One for each seed.

    Returns:
        The estimate; None without values.
    """
    found = np.array([*values], np.float64)
    n = len(found)
    if not n:
        return None
    mean = float(found.mean())
    if n == 1:
        return Estimate(1, mean)
    deviation = float(found.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation / n**0.5
    return Estimate(n, mean, deviation, mean - half, mean + half)


def paired_difference(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> Estimate | None:
    """Estimate by how much one variant exceeds another, seed by seed.

    What a seed does to both of them alike cancels out.

    Args:
        values: Values by seed.
        reference: Values by seed, which are subtracted.

    Returns:
        The estimate over the seeds that both have; None if they share none.
    """
    return estimate(
        values[seed] - reference[seed] for seed in values if seed in reference
    )
