"""The page of a study."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from deml_tf.reports import study_charts
from deml_tf.reports.page import write_page
from deml_tf.reports.study_attributes import attribute_tables
from deml_tf.reports.study_table import (
    cost_cells,
    diagnostic_cells,
    layout_cells,
    main_cells,
    seen_cells,
)
from deml_tf.studies.intervals import CONFIDENCE
from deml_tf.studies.summary import Row

_PROBES = (
    "Balanced accuracy of linear probes that are fitted on one half of the unseen "
    "species and read the attribute of the other half. Where an embedding shows less "
    "of an attribute than the frozen start, the metric has forgotten some of it."
)


class StudyFacts(NamedTuple):
    """What the page of a study says besides its scores.

    Attributes:
        title: Its name.
        command: What was typed.
        common: Flags of all variants.
        seeds: Seeds of each variant.
        left: Names of the runs that are not done yet.
        failed: Names of the runs that failed.
        warnings: Sentences, without a full stop, on what cannot be compared.
    """

    title: str
    command: str
    common: Sequence[str]
    seeds: Sequence[int]
    left: Sequence[str] = ()
    failed: Sequence[str] = ()
    warnings: Sequence[str] = ()


def write_study(
    path: str | os.PathLike[str], rows: Sequence[Row], study: StudyFacts
) -> None:
    """Write the page of a study: one HTML file, charts inside, no scripts.

    Args:
        path: The file to write.
        rows: Results of the runs of each variant. Once any variant has runs, those
            without are left out.
        study: Facts about the study.
    """
    rows = [row for row in rows if row.runs] or rows
    titles, cells = main_cells(rows)
    cost_titles, costs = cost_cells(rows)
    seen_titles, seen = seen_cells(rows)
    diagnostic_titles, diagnostics = diagnostic_cells(rows)
    layout_titles, layouts = layout_cells(rows)
    score = ("recall_at_1", "Recall@1 on unseen classes")
    difference = ("recall_at_1", "difference in Recall@1")
    charts = [
        ("Recall@1", study_charts.dots(rows, *score)),
        (
            "Difference to what it is compared with",
            study_charts.differences(rows, *difference),
        ),
        ("Recall@1 and cost", study_charts.against_cost(rows, *score)),
    ]
    names = [row.name for row in rows]
    write_page(
        path,
        "study",
        title=study.title,
        study=study,
        confidence=f"{CONFIDENCE:.0%}",
        titles=titles,
        rows=[*zip(names, cells, strict=True)],
        cost_titles=cost_titles,
        costs=[
            (row.name, " ".join(row.flags), own)
            for row, own in zip(rows, costs, strict=True)
        ],
        charts=[(name, chart) for name, chart in charts if chart],
        tables=[
            (
                "Seen and unseen classes",
                "Seen classes are those trained on; validation classes were held out "
                "of them to choose the step. The fewer classes and images are "
                "searched, the higher is Recall@1: if fewer are seen than unseen, "
                "part of the difference comes from that alone.",
                seen_titles,
                [*zip(names, seen, strict=True)],
            ),
            (
                "How the scores came about",
                "Means over seeds; where there are several, one for each scale. Boxes, "
                "learners and the embedding as they are on unseen classes.",
                diagnostic_titles,
                [*zip(names, diagnostics, strict=True)],
            ),
            (
                "Images laid out anew",
                "The unseen images as deml_tf.evaluate --layout lays them out, the "
                "listed boxes with them: shifted by a quarter of the side, cluttered "
                "with patches of other classes, several in one image, or empty.",
                layout_titles,
                [*zip(names, layouts, strict=True)],
            ),
            *(
                (heading, _PROBES, titles, lines)
                for heading, titles, lines in attribute_tables(rows)
            ),
        ],
        curves=study_charts.learning_curves(rows),
    )
