"""A run's report."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from deml_tf.reports import drawing, tables
from deml_tf.reports.charts import curves, notes
from deml_tf.reports.examples import AttentionExample, Retrieval
from deml_tf.reports.page import data_url, write_page
from deml_tf.reports.run_facts import learner_facts, run_facts, scale_facts


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    results: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    retrievals: Sequence[Retrieval],
    attention: Sequence[AttentionExample],
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> None:
    """Write a run's report: one HTML file, images and charts inside, no scripts.

    Args:
        path: The file to write.
        title: Heading of the page.
        results: The run's results.json; whatever is missing is left out or dashed.
        metrics: The records of metrics.jsonl.
        retrievals: Queries of unseen classes to show.
        attention: Images to show with boxes and saliency maps.
        flags: The flags as used.
        environment: The run's environment.json.
    """
    frozen, test = results.get("frozen") or {}, results.get("test") or {}
    validation = results.get("validation") or {}
    columns = tables.columns([frozen, test, validation])
    scores = [
        ("frozen start", frozen, tables.cells(frozen, columns)),
        ("trained", test, tables.cells(test, columns)),
        (
            "trained, on validation classes",
            validation,
            tables.cells(validation, columns),
        ),
    ]
    gain = {
        key: test[key] - frozen[key]
        for key, _ in columns
        if tables.finite(test.get(key)) and tables.finite(frozen.get(key))
    }
    write_page(
        path,
        "run",
        title=title,
        columns=[name for _, name in columns],
        scores=[(name, cells) for name, given, cells in scores if given],
        gain=[
            f"{gain[key]:+.3f}" if key in gain else tables.MISSING for key, _ in columns
        ],
        recall=tables.number(test.get("recall_at_1")),
        frozen_recall=tables.number(frozen.get("recall_at_1")),
        recall_gain=f"{gain['recall_at_1']:+.3f}" if "recall_at_1" in gain else None,
        queries=tables.number(test.get("queries")),
        left_out=tables.number(test.get("queries_left_out")),
        facts=run_facts(results, environment or {}),
        charts=curves(metrics, (results.get("train") or {}).get("best_step")),
        notes=notes(metrics),
        scales=scale_facts(results),
        learners=learner_facts(results),
        retrievals=[_retrieval(retrieval) for retrieval in retrievals],
        attention=[_attention(example) for example in attention],
        flags=sorted((flags or {}).items()),
    )


def _retrieval(retrieval: Retrieval) -> dict[str, Any]:
    return {
        "image": _jpeg(drawing.thumbnail(retrieval.image, 192)),
        "label": retrieval.label,
        "hits": sum(neighbour.hit for neighbour in retrieval.neighbours),
        "neighbours": [
            {
                "image": _jpeg(drawing.thumbnail(neighbour.image, 160)),
                "label": neighbour.label,
                "similarity": tables.number(float(neighbour.similarity)),
                "hit": neighbour.hit,
            }
            for neighbour in retrieval.neighbours
        ],
    }


def _attention(example: AttentionExample) -> dict[str, Any]:
    photo = drawing.thumbnail(example.image, 480)
    scales = [
        {
            "colour": drawing.hex(drawing.scale_colour(i)),
            "crop": _jpeg(seen),
            "saliency": _jpeg(drawing.overlay_saliency(seen, example.saliency[i])),
        }
        for i, seen in enumerate(example.views(192))
    ]
    return {
        "image": _jpeg(drawing.draw_boxes(photo, example.boxes, example.truth)),
        "label": example.label,
        "has_truth": example.truth is not None,
        "scales": scales,
    }


def _jpeg(image: np.ndarray) -> str:
    return data_url(Image.fromarray(image))
