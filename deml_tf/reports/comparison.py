"""Several runs side by side, on a page and in the terminal."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.table import Table
from rich.text import Text

from deml_tf.cli.printing import printable
from deml_tf.reports import drawing, tables
from deml_tf.reports.charts import bars
from deml_tf.reports.page import write_page

_LEAST = 5  # characters, at least, of a column of numbers


def comparison_rows(results: Mapping[str, Mapping[str, Any]]) -> tables.Rows:
    """Return the rows of a comparison: the frozen starts, then the runs.

    Runs with the same frozen start share its row.

    Args:
        results: The content of results.json of each run, by name.
    """
    return [*_frozen_starts(results), *results.items()]


def write_comparison(
    path: str | os.PathLike[str],
    rows: tables.Rows,
    *,
    links: Mapping[str, str | os.PathLike[str]] | None = None,
    warnings: Sequence[str] = (),
) -> None:
    """Write a page with several runs in one table and their recalls as bars.

    Args:
        path: The file to write.
        rows: Name and results of each run. A row's scores are its "test", or its
            "frozen" if it has no test.
        links: Report files by name; the page links them relative to `path`.
        warnings: Sentences, without a full stop, on what cannot be compared.
    """
    columns, cells, best = _comparison(rows)
    folder = Path(path).absolute().parent
    targets = {
        name: quote(os.fsencode(os.path.relpath(Path(link).absolute(), folder)))
        for name, link in (links or {}).items()
    }
    write_page(
        path,
        "comparison",
        title="Runs side by side",
        columns=columns,
        rows=[
            (
                name,
                drawing.hex(drawing.scale_colour(r)),
                targets.get(name),
                cells[r],
                best[r],
            )
            for r, (name, _) in enumerate(rows)
        ],
        bars=bars(rows),
        warnings=warnings,
    )


def comparison_table(rows: tables.Rows) -> Table:
    """Return the table of `write_comparison` for the terminal.

    The best of a column is in bold.

    Args:
        rows: As for `write_comparison`.

    Returns:
        A table for `rich.print`.
    """
    columns, cells, best = _comparison(rows)
    table = tables.plain_table(columns)
    for column, title in zip(table.columns[1:], columns, strict=True):
        column.min_width = max(len(title), _LEAST)  # long names give way to numbers
    for r, (name, _) in enumerate(rows):
        table.add_row(
            Text(printable(name)),
            *(
                Text(cell, style="bold" if bold else "")
                for cell, bold in zip(cells[r], best[r], strict=True)
            ),
        )
    return table


def _comparison(
    rows: tables.Rows,
) -> tuple[list[str], list[list[str]], list[list[bool]]]:
    """Return column names, the rows' cells, and which are the best of a column."""
    scores = [tables.scores(results) for _, results in rows]
    columns = [column for column in tables.columns(scores) if column[0] != "nmi"]
    cells, best = [], []
    for row, (_, results) in zip(scores, rows, strict=True):
        train = results.get("train") or {}
        speed = train.get("images_per_second")
        cells.append(
            tables.cells(row, columns)
            + [tables.number(train.get("steps")), tables.number(speed, 0)]
        )
        best.append(
            [
                tables.finite(row.get(key))
                and row[key] == max(s[key] for s in scores if tables.finite(s.get(key)))
                for key, _ in columns
            ]
            + [False, False]
        )
    return [name for _, name in columns] + ["steps", "images/s"], cells, best


def _frozen_starts(
    results: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield one row for each frozen start: runs that share it share the row."""
    starts: dict[Any, list[str]] = {}
    for name, result in results.items():
        if not result["frozen"]:
            continue  # it was not scored
        key = tuple(sorted(result["frozen"].items()))
        starts.setdefault(key, []).append(name)
    for key, names in starts.items():
        suffix = "" if len(starts) == 1 else f" of {', '.join(names)}"
        yield f"frozen start{suffix}", {"frozen": dict(key)}
