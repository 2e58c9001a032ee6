"""The scores of an evaluation as tables for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from deml_tf.cli.printing import printable, so_many
from deml_tf.reports import tables
from deml_tf.reports.run_facts import MEASURES

_ROLES = {"train": "Seen", "validation": "Validation", "test": "Unseen"}


def score_tables(
    scores: Mapping[str, Any], classes: int, split: str = "test"
) -> Iterator[Table]:
    """Yield the tables of what an evaluation scored.

    Args:
        scores: What `deml_tf.retrieval.scoring.score` returns or a part of it, with
            `classes` and, if they were probed, `attributes`.
        classes: Number of lines of the class table.
        split: Which images were scored: train, validation or test.
    """
    scored = f"{_ROLES[split]} classes"
    if "joined" in scores:
        yield summary_table(scores, scored)
    if len(scores["object_attention"]["side"]) > 1:
        yield attention_table(scores["object_attention"])
    if "attributes" in scores:
        yield attribute_table(scores["attributes"], scored)
    if classes and "classes" in scores:
        yield class_table(scores["classes"], classes)


def summary_table(scores: Mapping[str, Any], title: str) -> Table:
    """Return the metrics of the whole embedding and of each scale alone.

    Args:
        scores: What `deml_tf.retrieval.scoring.score` returns.
        title: Which classes were scored.
    """
    joined = scores["joined"]
    columns = tables.columns([joined])
    table = tables.plain_table(name for _, name in columns)
    table.title = title
    rows = [("joined", joined)]
    rows += [(f"scale {row['scale']}", row) for row in scores["per_scale"]]
    for row_title, row in rows:
        values = [row.get(key) for key, _ in columns]
        table.add_row(row_title, *("" if v is None else f"{v:.4f}" for v in values))
    table.caption = (
        f"{so_many(joined['queries'], 'query', 'queries')}, "
        f"{joined['queries_left_out']:,} left out (no other image of their class to "
        "find)"
    )
    return table


def class_table(classes: Sequence[Mapping[str, Any]], count: int) -> Table:
    """Return the classes with the lowest Recall@1.

    Args:
        classes: What `deml_tf.retrieval.metrics.per_class` returns.
        count: How many to show.
    """
    hardest = sorted(classes, key=lambda row: row["recall_at_1"])[:count]
    table = tables.plain_table(["queries", "R@1", "RP", "MAP@R"])
    table.title = "Hardest classes"
    for row in hardest:
        values = (row[name] for name in ("recall_at_1", "r_precision", "map_at_r"))
        cells = map(tables.number, values)
        table.add_row(Text(printable(str(row["label"]))), str(row["queries"]), *cells)
    return table


def attention_table(attention: Mapping[str, Any]) -> Table:
    """Return what object attention found, scale by scale.

    Args:
        attention: What `deml_tf.retrieval.attention_scores.score_attention` returns.
    """
    measures = [key for key in MEASURES if attention[key] is not None]
    table = tables.plain_table(MEASURES[key] for key in measures)
    table.title = "Where each scale looks"
    for i in range(len(attention["side"])):
        cells = (tables.number(attention[key][i]) for key in measures)
        table.add_row(f"scale {i + 1}", *cells)
    share = attention["fallback_share"]
    table.caption = f"in {share:.1%} of the views no region was found"
    return table


def attribute_table(attributes: Mapping[str, Mapping[str, Any]], scored: str) -> Table:
    """Return how well each attribute is read from each part.

    Args:
        attributes: What `deml_tf.retrieval.probes.probe_attributes` returns.
        scored: Which classes were scored.
    """
    parts = next(iter(attributes.values()))["parts"] if attributes else []
    names = [f"{i + 1}.{j + 1}" for i, row in enumerate(parts) for j in range(len(row))]
    table = tables.plain_table(["chance", "frozen", "whole", *names])
    table.padding = 0  # so that nine parts fit beside a name
    table.title = f"{scored}: attributes, balanced accuracy"
    for name, row in attributes.items():
        values = [row[key] for key in ("chance", "frozen", "whole")]
        values += [value for scale in row["parts"] for value in scale]
        table.add_row(name.replace("_", " "), *(tables.number(v, 2) for v in values))
    table.caption = "2.1: the part of scale 2, learner 1"
    return table
