"""Power laws fitted to measured figures: the exponent with which a cost grows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.timing import Row


@dataclass(frozen=True)
class PowerLaw:
    """`value = factor * size ** exponent`, fitted.

    Attributes:
        exponent: The slope of log(value) over log(size).
        factor: The value at size 1.
        error: Standard error of the exponent.
    """

    exponent: float
    factor: float
    error: float


def power_law(sizes: Sequence[float], values: Sequence[float]) -> PowerLaw:
    """Fits a power law by least squares on logarithms.

    Args:
        sizes: At least three different numbers above 0.
        values: One number above 0 for each of them.

    Raises:
        ValueError: Anything else.
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"sizes have shape {x.shape} and values {y.shape}: give one value a size."
        )
    if not (np.isfinite([x, y]).all() and min(x.min(initial=1), y.min(initial=1)) > 0):
        raise ValueError("sizes and values must be finite and above 0.")
    if len(np.unique(x)) < 3:
        raise ValueError(
            f"{len(np.unique(x))} different sizes are too few: give at least 3."
        )
    x, y = np.log(x), np.log(y)
    exponent, offset = np.polyfit(x, y, 1)
    left = np.square(y - offset - exponent * x).sum() / (len(x) - 2)
    error = np.sqrt(left / np.square(x - x.mean()).sum())
    return PowerLaw(float(exponent), float(np.exp(offset)), float(error))


def exponent_row(
    group: str, name: str, sizes: Sequence[float], values: Sequence[float]
) -> Row:
    """Returns the row of a fitted exponent; its range is one standard error each way.

    Args:
        group: The benchmark it belongs to.
        name: Name of the row.
        sizes: As `power_law` takes them.
        values: One per size.
    """
    law = power_law(sizes, values)
    spread = (law.exponent - law.error, law.exponent + law.error)
    return Row(group, name, law.exponent, "exponent", spread=spread)
