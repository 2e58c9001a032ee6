"""The rows of a study as texts, and as a table for the terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from deml_tf.reports import tables
from deml_tf.reports.run_facts import MEASURES
from deml_tf.studies.extra_scores import LAID_OUT
from deml_tf.studies.intervals import Estimate
from deml_tf.studies.records import PEAK, SEEN_RECALL
from deml_tf.studies.summary import Row

_OF_EVERY_SCALE = "object_attention/side"


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: Its content.
        is_bold: Whether it is to stand out.
    """

    text: str
    is_bold: bool = False


# By the title of a column: which number, and with how many digits.
_COSTS = {
    "GMAC": ("gmacs", 2),
    "parameters": ("parameters", 0),
    "seconds": ("seconds", 0),
}
SEEN = {
    "seen R@1": SEEN_RECALL,
    "unseen R@1": "recall_at_1",
    "frozen start R@1": "frozen_recall_at_1",
    "seen − unseen": "seen_minus_unseen",
    "validation MAP@R": "validation_map_at_r",
    "unseen MAP@R": "map_at_r",
}
_ATTENTION = {
    "views without a region": "object_attention/fallback_share",
    **{title: f"object_attention/{key}" for key, title in MEASURES.items()},
}
# For layouts, and for the images as they are: all but the sides of boxes.
_OF_LAYOUT = {
    title: number for title, number in _ATTENTION.items() if "/side" not in number
}
# Numbers by scale are shown for each scale.
DIAGNOSTICS = {
    **_ATTENTION,
    "cosine of learners": "learners/cosine",
    "predictability of learners": "learners/predictability",
    "R@1 of a part alone": "learners/recall_at_1",
    "variance": "embedding/variance",
    "effective rank": "embedding/effective_rank",
}


def main_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    """Return titles and cells of the main table, without the variants' names.

    Differences whose interval does not contain 0 are bold.

    Args:
        rows: Rows of the study.
    """
    titles = ["n", "compared with", "Recall@1", "R@1 difference", "MAP@R"]
    titles += ["MAP@R difference", "R-precision"]
    cells = []
    for row in rows:
        own = [Cell(str(len(row.runs))), Cell(row.reference or tables.MISSING)]
        for number in ("recall_at_1", "map_at_r"):
            own += [
                Cell(with_half(row.means.get(number), row)),
                difference_cell(row, number),
            ]
        own.append(Cell(with_half(row.means.get("r_precision"), row)))
        cells.append(own)
    return titles, cells


def cost_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    """Return titles and cells of what the variants cost.

    Args:
        rows: Rows of the study.
    """
    columns = {
        title: [mean_text(row, number, digits) for row in rows]
        for title, (number, digits) in _COSTS.items()
    }
    columns |= {
        "peak MiB": [mean_text(row, PEAK, 0) for row in rows],
        "best step": [mean_text(row, "best_step", 0) for row in rows],
        "code": [_revisions(row) for row in rows],
    }
    return _not_empty(columns, len(rows))


def seen_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    """Return titles and cells of the table of seen and unseen classes.

    Args:
        rows: Rows of the study.

    Returns:
        Only the columns that any row has.
    """
    return _not_empty(
        {
            title: [with_half(row.means.get(number), row) for row in rows]
            for title, number in SEEN.items()
        },
        len(rows),
    )


def diagnostic_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    """Return titles and cells of what explains how the scores came about.

    Args:
        rows: Rows of the study.

    Returns:
        Only the columns that any row has; means, with those by scale side by side.
    """
    return _not_empty(
        {
            title: [_by_scale(row, number) for row in rows]
            for title, number in DIAGNOSTICS.items()
        },
        len(rows),
    )


def layout_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    """Return titles and cells of Recall@1 and attention on images laid out anew.

    Args:
        rows: Rows of the study.

    Returns:
        Only the columns that any row has, and none without layouts.
    """
    columns = {}
    for prefix in [f"{layout}/" for layout in LAID_OUT]:
        if any(name.startswith(prefix) for row in rows for name in row.means):
            columns |= _columns_of_layout(rows, prefix)
    if columns:
        columns = _columns_of_layout(rows, "") | columns
    return _not_empty(columns, len(rows))


def _columns_of_layout(rows: Sequence[Row], prefix: str) -> dict[str, list[str]]:
    layout = prefix.removesuffix("/") or "as they are"
    recall = f"{prefix}recall_at_1"
    return {
        f"{layout}: R@1": [with_half(row.means.get(recall), row) for row in rows],
        **{
            f"{layout}: {title}": [_by_scale(row, prefix + number) for row in rows]
            for title, number in _OF_LAYOUT.items()
        },
    }


def _not_empty(
    columns: dict[str, list[str]], count: int
) -> tuple[list[str], list[list[Cell]]]:
    """Return titles and cells of the columns that any of so many rows has."""
    found = {
        title: texts
        for title, texts in columns.items()
        if any(text != tables.MISSING for text in texts)
    }
    cells = [[Cell(texts[row]) for texts in found.values()] for row in range(count)]
    return [*found], cells


def study_table(rows: Sequence[Row]) -> Table:
    """Return the table of a study for the terminal.

    Args:
        rows: Rows of the study.
    """
    titles = ["n", "Recall@1", "difference", "to", "MAP@R", *_COSTS]
    table = tables.plain_table(titles)
    for row in rows:
        cells = [
            Cell(str(len(row.runs))),
            Cell(with_half(row.means.get("recall_at_1"), row)),
            difference_cell(row, "recall_at_1"),
            Cell(row.reference or tables.MISSING),
            Cell(with_half(row.means.get("map_at_r"), row)),
            *map(Cell, _costs(row)),
        ]
        texts = [Text(text, style="bold" if bold else "") for text, bold in cells]
        table.add_row(Text(row.name), *texts)
    return table


def with_half(found: Estimate | None, row: Row, sign: str = "") -> str:
    """Write a mean and half of its interval, such as "0.512 ± 0.020".

    Args:
        found: The estimate; None is a dash.
        row: Its row; if the estimate has fewer seeds than it, their number is added.
        sign: "+" to write the sign of the mean, too.
    """
    if found is None:
        return tables.MISSING
    half = "" if found.half is None else f" ± {found.half:.3f}"
    fewer = "" if found.n == len(row.runs) else f" (n = {found.n})"
    return f"{found.mean:{sign}.3f}{half}{fewer}"


def difference_cell(row: Row, number: str) -> Cell:
    """Write the paired difference of a number, bold if its interval excludes 0.

    Args:
        row: A row of the study.
        number: Which number.
    """
    return signed_cell(row.differences.get(number), row)


def signed_cell(found: Estimate | None, row: Row) -> Cell:
    """Write a difference with its sign, bold if its interval excludes 0.

    Args:
        found: The estimate; None is a dash.
        row: Its row.
    """
    return Cell(with_half(found, row, "+"), found is not None and found.excludes_zero)


def _revisions(row: Row) -> str:
    """Name the commits at which the runs were started, as git shortens them."""
    found = {run.revision or "unknown" for run in row.runs.values()}
    if found <= {"unknown"}:
        return tables.MISSING
    return ", ".join(sorted({_short_revision(revision) for revision in found}))


def _short_revision(revision: str) -> str:
    commit, plus, changes = revision.partition("+")
    return commit[:7] + plus + changes


def _costs(row: Row) -> list[str]:
    return [mean_text(row, number, digits) for number, digits in _COSTS.values()]


def mean_text(row: Row, number: str, digits: int = 3) -> str:
    """Write the mean of a number, or a dash.

    Args:
        row: A row of the study.
        number: Which number.
        digits: Digits after the point; default 3.
    """
    found = row.means.get(number)
    return tables.MISSING if found is None else tables.number(found.mean, digits)


def _by_scale(row: Row, number: str) -> str:
    """Write a number, or those of all scales, each the mean over learners."""
    if number in row.means:
        return mean_text(row, number)
    found = _means_by_scale(row, number)
    if not found:
        return tables.MISSING
    # A number such as a correlation may be missing at some of the scales.
    scales = range(1, 1 + max([*found, *_means_by_scale(row, _OF_EVERY_SCALE)]))
    return " / ".join(
        f"{found[scale]:.3f}" if scale in found else tables.MISSING for scale in scales
    )


def _means_by_scale(row: Row, number: str) -> dict[int, float]:
    """Return the mean of a number over seeds, and over learners, by scale."""
    scales: dict[int, list[float]] = {}
    for name, found in row.means.items():
        if name.startswith(f"{number}/"):
            scale = name.removeprefix(f"{number}/").partition("/")[0]
            scales.setdefault(int(scale), []).append(found.mean)
    return {scale: sum(means) / len(means) for scale, means in scales.items()}
