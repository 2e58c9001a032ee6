"""A run's report and the comparison of several: pages that need no network."""

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np
import rich.box
from markupsafe import Markup, escape
from PIL import Image
from rich.table import Table
from rich.text import Text

from deml_tf.reports import drawing, tables
from deml_tf.reports.charts import bars, curves
from deml_tf.runs.atomic import write_atomically


@dataclass(frozen=True)
class Neighbour:
    """One retrieved image: `image` `(h, w, 3)` uint8, its cosine and whether it hits.

    A hit has the query's class.
    """

    image: np.ndarray
    label: str
    similarity: float
    hit: bool


@dataclass(frozen=True)
class Retrieval:
    """A query image `(h, w, 3)` uint8 and its neighbours, nearest first."""

    image: np.ndarray
    label: str
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class AttentionExample:
    """What every scale saw of an image, and where its walk looked.

    Attributes:
        image: `(h, w, 3)` uint8, the original image.
        label: Its class.
        boxes: `(i, 4)`, ymin, xmin, ymax, xmax relative to `image`: what scale i saw.
        saliency: `(i, gh, gw)`, the walk's map over what scale i saw.
        crops: `(i, s, s, 3)` uint8, the very pixels scale i saw; None cuts `boxes` out.
        truth: `(4,)`, the listed box, or None.
    """

    image: np.ndarray
    label: str
    boxes: np.ndarray
    saliency: np.ndarray
    crops: np.ndarray | None = None
    truth: np.ndarray | None = None


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
    """Writes a run's report: one HTML file, images and charts inside, no scripts.

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
    _render(
        path,
        page="report",
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
        facts=_facts(results, environment or {}),
        charts=curves(metrics, (results.get("train") or {}).get("best_step")),
        scales=_scales(results),
        retrievals=[_retrieval(retrieval) for retrieval in retrievals],
        attention=[_attention(example) for example in attention],
        flags=sorted((flags or {}).items()),
    )


def write_comparison(
    path: str | os.PathLike[str],
    rows: tables.Rows,
    *,
    title: str = "Runs side by side",
    links: Mapping[str, str | os.PathLike[str]] | None = None,
) -> None:
    """Writes a page with several runs in one table and their recalls as bars.

    Args:
        path: The file to write.
        rows: Name and results of each run. A row's scores are its "test", or its
            "frozen" where it has no test.
        title: Heading of the page.
        links: For a name its report's file; the page links it relative to `path`.
    """
    columns, cells, best = _comparison(rows)
    folder = Path(path).absolute().parent
    targets = {
        name: quote(Path(os.path.relpath(Path(link).absolute(), folder)).as_posix())
        for name, link in (links or {}).items()
    }
    _render(
        path,
        page="comparison",
        title=title,
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
    )


def comparison_table(rows: tables.Rows) -> Table:
    """The table of `write_comparison` for the terminal, the best of a column in bold.

    Args:
        rows: As for `write_comparison`.

    Returns:
        A table for `rich.print`.
    """
    columns, cells, best = _comparison(rows)
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for r, (name, _) in enumerate(rows):
        table.add_row(
            Text(name),
            *(
                Text(cell, style="bold" if bold else "")
                for cell, bold in zip(cells[r], best[r], strict=True)
            ),
        )
    return table


# Numbers.


def _comparison(
    rows: tables.Rows,
) -> tuple[list[str], list[list[str]], list[list[bool]]]:
    """Column names, the rows' cells, and which of them are the best of a column."""
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


def _duration(seconds: Any) -> str:
    if not tables.finite(seconds):
        return tables.MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _facts(
    results: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headed lists of what the figures rest on; empty ones are left out."""
    model, train = results.get("model") or {}, results.get("train") or {}
    attention = results.get("object_attention") or {}
    share = attention.get("fallback_share")
    lists = {
        "Data": _flat({"data set": results.get("dataset")})
        + _flat(results.get("protocol") or {}),
        "Model": [
            ("name", model.get("name")),
            ("backbone", model.get("backbone")),
            ("input side, pixels", model.get("input_size")),
            ("scales I × learners J", _pair(model)),
            ("embedding", tables.number(model.get("embedding_dim"))),
            ("parameters", tables.number(model.get("parameters"))),
            ("GMAC an image", tables.number(model.get("gmacs"), 2)),
            (
                "walks without a region",
                f"{share:.1%}" if tables.finite(share) else None,
            ),
        ],
        "Training": [
            ("steps", tables.number(train.get("steps"))),
            ("chosen step", tables.number(train.get("best_step"))),
            ("time", _duration(train.get("seconds"))),
            ("images/s", tables.number(train.get("images_per_second"), 1)),
            ("seed", results.get("seed")),
        ],
        "Machine": [
            (name.replace("_", " "), value)
            for name, value in _flat(environment)
            if name != "platform"
        ],
    }
    kept = {
        heading: [
            (n, str(v)) for n, v in items if v not in (None, tables.MISSING, "None")
        ]
        for heading, items in lists.items()
    }
    return [(heading, items) for heading, items in kept.items() if items]


def _pair(model: Mapping[str, Any]) -> str | None:
    scales, learners = model.get("scales"), model.get("learners")
    return None if scales is None or learners is None else f"{scales} × {learners}"


def _flat(counts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested counts as one list of names and texts, names joined by blanks."""
    flat = []
    for key, value in counts.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            flat += _flat(value, "" if key == "packages" else f"{name} ")
        else:
            count = isinstance(value, int) and not isinstance(value, bool)
            flat.append((name, f"{value:,}" if count else value))
    return flat


def _scales(results: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by scale, and the mean box (and its IoU with the listed one) by scale."""
    attention = results.get("object_attention") or {}
    per_scale = results.get("per_scale") or []
    columns = [
        column
        for column in tables.columns(per_scale)
        if any(column[0] in row for row in per_scale)
    ]
    boxes, overlaps = attention.get("mean_box"), attention.get("iou")
    means = []
    for i, box in enumerate(boxes if boxes is not None else []):
        overlap = overlaps[i] if overlaps is not None and i < len(overlaps) else None
        means.append(
            {
                "colour": drawing.hex(drawing.scale_colour(i)),
                "box": [
                    f"{e:.2f}" if tables.finite(e) else tables.MISSING for e in box
                ],
                "size": [
                    f"{b - a:.0%}"
                    if tables.finite(a) and tables.finite(b)
                    else tables.MISSING
                    for a, b in ((box[0], box[2]), (box[1], box[3]))
                ],
                "iou": tables.number(overlap),
            }
        )
    return {
        "columns": [name for _, name in columns],
        "scores": [(row.get("scale"), tables.cells(row, columns)) for row in per_scale],
        "boxes": means,
        "has_iou": overlaps is not None,
    }


# Images.


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
    scales = []
    for i, box in enumerate(example.boxes):
        seen = (
            drawing.crop(example.image, box, 192)
            if example.crops is None
            else drawing.thumbnail(example.crops[i], 192)
        )
        scales.append(
            {
                "colour": drawing.hex(drawing.scale_colour(i)),
                "crop": _jpeg(seen),
                "saliency": _jpeg(drawing.overlay_saliency(seen, example.saliency[i])),
            }
        )
    return {
        "image": _jpeg(drawing.draw_boxes(photo, example.boxes, example.truth)),
        "label": example.label,
        "has_truth": example.truth is not None,
        "scales": scales,
    }


def _jpeg(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _breakable(label: str) -> Markup:
    """The label, escaped, with leave to break the line where its words end."""
    return Markup(re.sub(r"([_./-]+)", r"\1<wbr>", str(escape(label))))


def _render(path: str | os.PathLike[str], **context: Any) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    page = environment.get_template("run.html.jinja").render(context)
    write_atomically(path, page.encode())
