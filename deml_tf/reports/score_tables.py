"""The scores of an evaluation as tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from deml_tf.cli.printing import printable
from deml_tf.reports import tables


def summary_table(scores: Mapping[str, Any]) -> Table:
    """Return the metrics of the whole embedding and of each scale alone.

    Args:
        scores: What `deml_tf.retrieval.scoring.score` gives.
    """
    joined = scores["joined"]
    names = [name for name in joined if not name.startswith("queries")]
    table = Table("", *names, title="Unseen classes")
    rows = [("joined", joined)]
    rows += [(f"scale {row['scale']}", row) for row in scores["per_scale"]]
    for title, row in rows:
        values = [row.get(name) for name in names]
        table.add_row(title, *("" if v is None else f"{v:.4f}" for v in values))
    table.caption = (
        f"{joined['queries']} queries, {joined['queries_left_out']} left out (the only "
        "image of their class)"
    )
    return table


def class_table(classes: Sequence[Mapping[str, Any]], count: int) -> Table:
    """Return the classes with the lowest Recall@1.

    Args:
        classes: What `deml_tf.retrieval.metrics.per_class` gives.
        count: How many to show.
    """
    hardest = sorted(classes, key=lambda row: row["recall_at_1"])[:count]
    table = Table("class", "queries", "R@1", "RP", "MAP@R", title="Hardest classes")
    for row in hardest:
        values = (row[name] for name in ("recall_at_1", "r_precision", "map_at_r"))
        cells = map(tables.number, values)
        table.add_row(Text(printable(str(row["label"]))), str(row["queries"]), *cells)
    return table
