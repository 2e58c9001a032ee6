"""Charts of one or several runs, as SVG in the colours of the page."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from deml_tf.cli.printing import printable
from deml_tf.reports import drawing, tables

VALIDATION = {
    "validation_recall_at_1": "Recall@1 on validation classes",
    "validation_map_at_r": "MAP@R on validation classes",
}
LOSSES = {
    "loss": "Total loss",
    "metric_loss": "Metric loss",
    "hinge_loss": "Hinge between learners",
    "adversary_loss": "Adversary loss",
    "activation_decay": "Activation decay",
    "unit_rows": "Unit rows",
    "energy_confusion": "Energy confusion",
}
SPREAD = {
    "embedding_variance": "Variance of the embedding in a batch",
    "effective_rank": "Effective rank of a batch",
}
_BY_STEP = {**LOSSES, **SPREAD, "images_per_second": "Images a second"}
_MOST = 400  # steps that are drawn one by one
_LONGEST = 30  # characters of a name in a chart
# Stand-ins that become the page's own colours, so that charts follow light and dark.
INK, ACCENT = "#0a0b0c", "#0d0e0f"
# A decorator: charts are made and saved alike whatever the user's matplotlibrc says.
in_default_style = style.context("default")


@in_default_style
def curves(
    metrics: Sequence[Mapping[str, Any]], best_step: Any
) -> list[tuple[str, Markup]]:
    """Draw a run's charts: validation first, then losses, spread and speed."""
    charts = []
    for key, title in VALIDATION.items():
        steps, scores = _series(metrics, key)
        if steps.size:
            charts.append((title, _validation(steps, scores, best_step, title)))
    for key, title in _BY_STEP.items():
        steps, values = _series(metrics, key)
        if values.any():
            figure, axes = new_axes()
            if steps.size > _MOST:  # means of 200 stretches over the band they span
                stretches = np.array_split(values, 200)
                steps = np.array([part.mean() for part in np.array_split(steps, 200)])
                values = np.array([part.mean() for part in stretches])
                low, high = ([f(part) for part in stretches] for f in (np.min, np.max))
                axes.fill_between(steps, low, high, color=ACCENT, alpha=0.2, lw=0)
            mark = "o" if steps.size == 1 else None
            axes.plot(steps, values, color=ACCENT, marker=mark, linewidth=1.5)
            if key in SPREAD or key == "images_per_second":
                axes.set_ylim(bottom=0)
            charts.append((title, svg(figure, title)))
    return charts


def _validation(
    steps: np.ndarray, scores: np.ndarray, best_step: Any, title: str
) -> Markup:
    """Draw scores of validation classes, and the best step if it is known."""
    figure, axes = new_axes()
    axes.plot(steps, scores, color=ACCENT, marker="o", markersize=3.5)
    if tables.finite(best_step):
        axes.axvline(best_step, color=INK, linestyle="--", linewidth=1, alpha=0.7)
        at = np.flatnonzero(steps == best_step)
        value = f": {scores[at[-1]]:.3f}" if at.size else ""
        said = f"best step {best_step:,}{value}"
        axes.set_title(said, loc="right", color=INK, fontsize=9)
        if at.size:
            axes.plot(best_step, scores[at[-1]], "o", color=INK, markersize=7)
    return svg(figure, title)


def notes(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return sentences on what the charts of `curves` do not say themselves.

    Args:
        metrics: The records that were drawn.
    """
    said = []
    if _series(metrics, "validation_map_at_r")[0].size:
        said.append(
            "The best step, whose weights are kept, is that of the highest MAP@R on "
            "validation classes."
        )
    drawn = [values for key in _BY_STEP if (values := _series(metrics, key)[1]).any()]
    if any(values.size > _MOST for values in drawn):
        said.append(
            "Of many steps, a line shows the means of 200 stretches, and the band "
            "around it their lowest and highest values."
        )
    return said


@in_default_style
def bars(rows: tables.Rows) -> Markup | None:
    """Draw the recalls of every run, grouped by rank; None if no run has any."""
    scores = [tables.scores(results) for _, results in rows]
    columns = [c for c in tables.columns(scores) if c[0].startswith("recall_at_")]
    if not any(tables.finite(row.get(key)) for row in scores for key, _ in columns):
        return None
    figure, axes = new_axes(width=7.0, height=3.2)
    width = 0.8 / len(rows)
    for r, row in enumerate(scores):
        known = [tables.finite(row.get(key)) for key, _ in columns]
        values = [
            float(row[key]) if is_known else 0.0
            for (key, _), is_known in zip(columns, known, strict=True)
        ]
        places = np.arange(len(columns)) + (r - (len(rows) - 1) / 2) * width
        bars = axes.bar(
            places, values, 0.9 * width, color=drawing.hex(drawing.scale_colour(r))
        )
        if len(rows) <= 4:
            labels = [
                f"{value:.3f}" if is_known else tables.MISSING
                for value, is_known in zip(values, known, strict=True)
            ]
            axes.bar_label(bars, labels, fontsize=7, padding=1, color=INK)
    axes.set_xticks(range(len(columns)), [name for _, name in columns])
    axes.set_xlabel("")
    axes.grid(False, axis="x")
    return svg(figure, "Recalls of every run")


def new_axes(width: float = 4.4, height: float = 2.5) -> tuple[Figure, Axes]:
    """Make a figure and its axes, without the global state of pyplot.

    Args:
        width: In inches; the page scales the chart to its own width.
        height: In inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=INK, alpha=0.12)
    axes.set_axisbelow(True)
    axes.set_xlabel("step", color=INK, fontsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    return figure, axes


def svg(figure: Figure, title: str) -> Markup:
    """Return the figure as SVG inside HTML: no addresses, the page's colours.

    Args:
        figure: Drawn only in INK and ACCENT, or in colours for light and dark pages.
        title: What a screen reader calls it.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # $ in a name starts no formula
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "deml_tf"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace(INK, "currentColor").replace(ACCENT, "var(--accent)")
    label = escape(printable(title))
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def short(name: str) -> str:
    """Return a name as it is, or its beginning if it is too long for a chart.

    Args:
        name: A printable name.
    """
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _series(
    metrics: Sequence[Mapping[str, Any]], key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of the records that have a number under a key."""
    points = [
        (record["step"], record[key])
        for record in metrics
        if tables.finite(record.get("step")) and tables.finite(record.get(key))
    ]
    steps, values = np.array(points, np.float64).reshape(-1, 2).T
    return steps, values
