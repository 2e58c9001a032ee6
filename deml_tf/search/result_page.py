"""The answer to one query as a page of its own, without a server."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from deml_tf.data.image_files import read_image_file
from deml_tf.reports.drawing import draw_boxes, hex, scale_colour
from deml_tf.reports.page import data_url, write_page
from deml_tf.reports.thumbnails import thumbnail_of
from deml_tf.search.found import THUMBNAIL_SIDE, Found
from deml_tf.search.query import Query


def write_result(
    path: str | os.PathLike[str],
    *,
    name: str,
    encoded: bytes,
    query: Query,
    found: Found,
    facts: Sequence[tuple[str, str]],
) -> None:
    """Write the page: one HTML file, images inside, no scripts.

    Args:
        path: The file to write.
        name: Name of the query's file.
        encoded: The query's file.
        query: The query.
        found: Its answer.
        facts: What the search was based on: names and values.
    """
    write_page(
        path,
        "search_result",
        title=f"Most like {os.path.basename(name)}",
        query=_drawn(encoded, query.boxes),
        verdict=found.verdict,
        scales=[hex(scale_colour(scale)) for scale in range(len(query.boxes))],
        hits=[
            {
                "image": _thumbnail(hit.path, hit.boxes),
                "cosine": f"{hit.cosine:.3f}",
                "label": hit.label,
                "name": os.path.basename(hit.path),
                "path": hit.path,
            }
            for hit in found.hits
        ],
        facts=facts,
    )


def _thumbnail(path: str, boxes: Any) -> str | None:
    """Return an indexed image as a data URL; None if the file is gone by now."""
    try:
        return _drawn(read_image_file(path), boxes)
    except OSError:
        return None


def _drawn(encoded: bytes, boxes: Any) -> str | None:
    small = thumbnail_of(encoded, THUMBNAIL_SIDE)
    if small is None:
        return None
    return data_url(Image.fromarray(draw_boxes(np.asarray(small), boxes)))
