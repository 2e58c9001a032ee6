"""Scores of runs as the columns and cells of a table."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rich.box
from rich.table import Table

Rows = Sequence[tuple[str, Mapping[str, Any]]]
MISSING = "–"


def scores(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the test scores of results, or those of the frozen start."""
    return results.get("test") or results.get("frozen") or {}


def columns(scores: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return keys and names of the score columns: all recalls, then the rest."""
    found = {
        int(match[1])
        for row in scores
        for key in row
        if (match := re.fullmatch(r"recall_at_(\d+)", key))
    }
    ranks = sorted(found) or [1, 2, 4, 8]
    return [(f"recall_at_{rank}", f"R@{rank}") for rank in ranks] + [
        ("r_precision", "RP"),
        ("map_at_r", "MAP@R"),
        ("nmi", "NMI"),
    ]


def cells(row: Mapping[str, Any], columns: list[tuple[str, str]]) -> list[str]:
    """Return one row's scores as text."""
    return [number(row.get(key)) for key, _ in columns]


def finite(value: Any) -> bool:
    """Return whether a value is a number, neither infinite nor NaN."""
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """Write counts with separators, measures with some digits, a dash for nothing."""
    if not finite(value):
        return MISSING
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return f"{value:,.{digits}f}"


def plain_table(titles: Iterable[str]) -> Table:
    """Return a table without rows for the terminal, names in its first column.

    On a narrow terminal cells are wrapped: nothing is cut off.

    Args:
        titles: Titles of the columns after the names.
    """
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", overflow="fold")
    for title in titles:
        table.add_column(title, justify="right", overflow="fold")
    return table
