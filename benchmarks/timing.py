"""Times functions that take turns, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        group: The benchmark it belongs to.
        name: What was measured.
        value: The median.
        unit: Unit of the value.
        ratio: The value over that of `against`; None if there is nothing to compare.
        against: Name of the row it is compared with, or of the bound.
        spread: Smallest and largest of the repeats.
    """

    group: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    against: str | None = None
    spread: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        return asdict(self)


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    repeats: int,
    warm_up: int = 1,
    settle: int = 0,
) -> dict[str, list[float]]:
    """Times functions in turns.

    Args:
        runs: Functions by name; each must wait for its own result.
        repeats: Timed calls of each.
        warm_up: Calls of each before that, which compile and fill caches; default 1.
        settle: Untimed calls before each timed one, default 0, for runs that are to
            show the pace of many in a row though another process ran before them.

    Returns:
        Seconds of each call, by name.
    """
    for run in runs.values():
        for _ in range(warm_up):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            for _ in range(settle):
                run()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def rate_rows(
    group: str, seconds: Mapping[str, list[float]], count: int, against: str
) -> list[Row]:
    """Returns rows of images per second.

    Args:
        group: The benchmark's name.
        seconds: As `interleaved` returns them.
        count: Images per call.
        against: The name all are compared with.
    """
    median = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        Row(
            group,
            name,
            count / median[name],
            "images/s",
            median[against] / median[name],
            against,
            (count / max(times), count / min(times)),
        )
        for name, times in seconds.items()
    ]


def wait(results: Any) -> None:
    """Waits for results, without the copy that `numpy()` makes.

    Args:
        results: A tensor or a nest of them.
    """
    for result in tf.nest.flatten(results):
        np.asarray(result)
