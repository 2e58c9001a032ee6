"""Charts of a study: intervals over seeds, differences, cost, learning curves."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from deml_tf.reports.charts import (
    ACCENT,
    INK,
    in_default_style,
    new_axes,
    short,
    svg,
)
from deml_tf.studies.intervals import Estimate
from deml_tf.studies.summary import Row


def dots(rows: Sequence[Row], number: str, label: str) -> Markup | None:
    """Draw each variant's mean with its interval, and a dot for each seed.

    Args:
        rows: Rows of the study, from top to bottom.
        number: Which of the runs' numbers to draw.
        label: What it is called.

    Returns:
        The chart; None if no run has the number.
    """
    return _dots(
        rows,
        label,
        lambda row: row.means.get(number),
        lambda row: [*row.values(number).values()],
    )


def differences(rows: Sequence[Row], number: str, label: str) -> Markup | None:
    """Draw each variant's paired differences to its reference around 0.

    Args:
        rows: Rows of the study; those without a reference are left out.
        number: Which of the runs' numbers to draw.
        label: What it is called.

    Returns:
        The chart; None if no run has a difference.
    """
    values = {row.name: row.values(number) for row in rows}

    def of_seeds(row: Row) -> list[float]:
        reference = values[str(row.reference)]
        own = values[row.name]
        return [own[seed] - reference[seed] for seed in own if seed in reference]

    compared = [row for row in rows if row.reference is not None]
    return _dots(
        compared,
        label,
        lambda row: row.differences.get(number),
        of_seeds,
        name_of=lambda row: f"{short(row.name)} − {short(str(row.reference))}",
        zero=True,
    )


@in_default_style
def against_cost(rows: Sequence[Row], number: str, label: str) -> Markup | None:
    """Draw a number's means and intervals over the GMAC of an image.

    Args:
        rows: Rows of the study.
        number: Which of the runs' numbers to draw.
        label: What it is called.

    Returns:
        The chart, each variant labelled; None if all cost the same.
    """
    drawn = [row for row in rows if {number, "gmacs"} <= row.means.keys()]
    if len({round(row.means["gmacs"].mean, 6) for row in drawn}) < 2:
        return None
    figure, axes = new_axes(7.0, 4.2)
    for row in drawn:
        cost, found = row.means["gmacs"].mean, row.means[number]
        if found.low is not None:
            ends = [found.low, found.high]
            axes.plot([cost] * 2, ends, color=ACCENT, linewidth=1.2, alpha=0.6)
        axes.plot(cost, found.mean, "o", color=ACCENT, markersize=5)
    axes.margins(x=0.12)
    _label(axes, {r.name: (r.means["gmacs"].mean, r.means[number].mean) for r in drawn})
    axes.set_xlabel("GMAC an image", color=INK, fontsize=9)
    axes.set_ylabel(label, color=INK, fontsize=9)
    return svg(figure, f"{label} by GMAC an image")


@in_default_style
def learning_curves(rows: Sequence[Row]) -> list[tuple[str, Markup]]:
    """Draw each variant's validation MAP@R by step, a line for each seed.

    The mean of its reference is dashed.

    Args:
        rows: Rows of the study.

    Returns:
        Names and charts of the variants that were validated.
    """
    curves = {row.name: [np.array(r.curve) for r in row.runs.values()] for row in rows}
    curves = {n: [c for c in some if c.size] for n, some in curves.items()}
    highest = max((c[:, 1].max() for some in curves.values() for c in some), default=0)
    charts = []
    for row in rows:
        if not curves[row.name]:
            continue
        figure, axes = new_axes()
        for curve in curves[row.name]:
            mark = "o" if len(curve) == 1 else None
            axes.plot(*curve.T, color=ACCENT, marker=mark, linewidth=1.2, alpha=0.8)
        steps, means = _mean_curve(curves.get(str(row.reference), []))
        mark = "_" if len(steps) == 1 else None
        axes.plot(steps, means, "--", color=INK, marker=mark, linewidth=1, alpha=0.7)
        axes.set_ylim(0, 1.05 * highest or 1)
        charts.append((row.name, svg(figure, f"Validation MAP@R of {row.name}")))
    return charts


def _mean_curve(curves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean at each step that any of the curves has."""
    points = np.concatenate([*curves, np.zeros((0, 2))])
    steps, places = np.unique(points[:, 0], return_inverse=True)
    sums = np.bincount(places, points[:, 1], minlength=len(steps))
    return steps, sums / np.bincount(places, minlength=len(steps))


@in_default_style
def _dots(
    rows: Sequence[Row],
    label: str,
    estimate_of: Callable[[Row], Estimate | None],
    seeds_of: Callable[[Row], list[float]],
    name_of: Callable[[Row], str] = lambda row: short(row.name),
    zero: bool = False,
) -> Markup | None:
    """Draw a line for each row: interval, mean and the value of each seed."""
    drawn = [(row, found) for row in rows if (found := estimate_of(row)) is not None]
    if not drawn:
        return None
    figure, axes = new_axes(7.0, 0.7 + 0.27 * len(drawn))
    if zero:
        axes.axvline(0, color=INK, linewidth=1, alpha=0.7)
    for place, (row, found) in enumerate(drawn):
        _interval(axes, place, found)
        values = seeds_of(row)
        places = [place] * len(values)
        axes.plot(values, places, "o", color=INK, markersize=2.5, alpha=0.6)
    axes.set_yticks(range(len(drawn)), [name_of(row) for row, _ in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel(label, color=INK, fontsize=9)
    return svg(figure, label)


def _interval(axes: Axes, place: float, found: Estimate) -> None:
    if found.low is not None:
        ends = [found.low, found.high]
        axes.plot(ends, [place] * 2, color=ACCENT, linewidth=2, alpha=0.6)
    axes.plot(found.mean, place, "o", color=ACCENT, markersize=6)


def _label(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write names beside points, one above the other where they would overlap."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = 0.25 * (right - left), 0.035 * (top - bottom)  # of a name
    taken: list[tuple[float, float]] = []
    for name, (x, y) in sorted(points.items(), key=lambda point: point[1][1]):
        below = [b for a, b in taken if abs(a - x) < width]
        place = max([y, *(b + height for b in below)])
        taken.append((x, place))
        axes.annotate(
            short(name),
            (x, place),
            xytext=(6, 0),
            textcoords="offset points",
            verticalalignment="center",
            color=INK,
            fontsize=8,
        )
