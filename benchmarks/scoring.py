"""Exact scoring at the size of Stanford Online Products, against a bare search."""

from collections.abc import Callable

import faiss
import numpy as np

from benchmarks.fit import exponent_row
from benchmarks.memory import MEGABYTE, in_fresh_process, peak_of, resident
from benchmarks.timing import Row, interleaved
from deml_tf.retrieval import evaluate

IMAGES, CLASSES, WIDTH = 60_502, 11_316, 512
SMALLER = (5_000, 20_000)
RANKS = (1, 10, 100, 1000)
NOISE = 2.5  # deviation of images from their class's centre, over the centres'
RATIO, BYTES = 1.3, 10**9  # what scoring may cost: in bare searches, in memory
BLOCK = 4096  # queries of a bare search at a time
NAMES = ("scoring", "bare FAISS search")


def measure(repeats: int) -> list[Row]:
    """Times Recall@1, 10, 100, 1000, R-precision and MAP@R against the bare search.

    The search is FAISS's flat one for 1001 neighbours, a block of queries at a time,
    with its results discarded. Memory is the resident size at its peak, less what the
    process held before, which is the embeddings and the libraries. A turn of both
    takes a minute or two, so there are three at most, and two more for the memory.

    Args:
        repeats: Timed turns; no more than 3 are taken.
    """
    repeats = min(repeats, 3)
    peaks = {name: in_fresh_process(_peak, name) for name in NAMES}
    small = {}
    for count in SMALLER:
        scoring = {NAMES[0]: _calls(*problem(count))[NAMES[0]]}
        small[count] = interleaved(scoring, repeats)[NAMES[0]]
    # The start of a first call matters little in such a long one: no warm-up turn.
    seconds = interleaved(_calls(*problem(IMAGES)), repeats, warm_up=0)
    return [
        *_against_the_search(*(seconds[name] for name in NAMES)),
        *(
            Row(
                "scoring",
                f"peak memory above the embeddings, {name}",
                peaks[name] / MEGABYTE,
                "MB",
                peaks[name] / BYTES if name == NAMES[0] else None,
                "bound of 1 GB" if name == NAMES[0] else None,
            )
            for name in NAMES
        ),
        *_growth(small | {IMAGES: seconds[NAMES[0]]}),
    ]


def _against_the_search(scoring: list[float], search: list[float]) -> list[Row]:
    ratios = np.divide(scoring, search)  # of each turn: both were slowed alike
    ratio = float(np.median(ratios))
    return [
        Row(
            "scoring",
            f"scoring over a bare search, {IMAGES:,} x {WIDTH}",
            ratio,
            "x",
            ratio / RATIO,
            f"bound of {RATIO:g} x",
            (float(ratios.min()), float(ratios.max())),
        ),
        Row(
            "scoring",
            f"{NAMES[1]}, {IMAGES:,} x {WIDTH}",
            float(np.median(search)),
            "s",
            spread=(min(search), max(search)),
        ),
    ]


def _growth(seconds: dict[int, list[float]]) -> list[Row]:
    medians = [float(np.median(times)) for times in seconds.values()]
    rows = [
        Row(
            "scoring",
            f"{NAMES[0]}, {count:,} x {WIDTH}",
            median,
            "s",
            spread=(min(times), max(times)),
        )
        for (count, times), median in zip(seconds.items(), medians, strict=True)
    ]
    rows.append(
        exponent_row("scoring", "exponent of scoring in n", [*seconds], medians)
    )
    return rows


def problem(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns unit rows around centres of classes of about five images, at least two.

    Args:
        count: Number of images.

    Returns:
        `(count, 512)` float32 and `(count,)` class numbers.
    """
    rng = np.random.default_rng(0)
    classes = round(count * CLASSES / IMAGES)
    more = rng.integers(0, classes, count - 2 * classes)
    labels = np.concatenate([np.arange(classes), np.arange(classes), more])
    rows = rng.standard_normal((classes, WIDTH), np.float32)[labels]
    rows += NOISE * rng.standard_normal((count, WIDTH), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, labels


def _calls(rows: np.ndarray, labels: np.ndarray) -> dict[str, Callable[[], object]]:
    def search():
        index = faiss.IndexFlatIP(WIDTH)
        index.add(rows)
        for start in range(0, len(rows), BLOCK):
            # One more than the ranks ask for: the query itself.
            index.search(rows[start : start + BLOCK], max(RANKS) + 1)

    return {NAMES[0]: lambda: evaluate(rows, labels, RANKS), NAMES[1]: search}


def _peak(name: str) -> int:
    """Runs in a process of its own; returns bytes above those with the embeddings."""
    call = _calls(*problem(IMAGES))[name]
    before = resident()
    return peak_of(call) - before
