"""An audit as a page that shows every pair of copies side by side."""

import os
from collections.abc import Mapping
from typing import Any

from deml_tf.data.duplicates import HASH_SIDE
from deml_tf.data.findings import HALVES, WHERE, spoilers
from deml_tf.data.image_bytes import read_bytes
from deml_tf.reports.audit_tables import (
    HEADINGS,
    audit_tables,
    badged,
    empty_table,
    more_of,
    names_table,
    unreadable_table,
    verdict,
)
from deml_tf.reports.page import data_url, write_page
from deml_tf.reports.thumbnails import thumbnail_of

_SIDE = 280  # pixels of a thumbnail's longer side
_MEMBERS = 6  # images shown of one group
_LINES = 50  # lines of a list on the page
_WHY = {
    "across_halves": "Seen in training and asked for in the test: these spoil a "
    "zero-shot benchmark.",
    "two_classes": "One of the two labels is wrong, or the image shows both.",
    "one_class": "They make retrieval easier than it is; images of one scene often "
    "follow each other.",
}


def write_audit(
    path: str | os.PathLike[str],
    findings: Mapping[str, Any],
    *,
    title: str,
    shown: int = 60,
) -> None:
    """Write the page: one HTML file, images inside, no scripts.

    Args:
        path: the file to write.
        findings: as `find` returns them, and `refusal`: what the reader of the data set
            objects to, or None.
        title: heading of the page.
        shown: groups and pairs shown of each kind.
    """
    lists = [
        table(findings, _LINES)
        for table in (names_table, unreadable_table, empty_table)
    ]
    write_page(
        path,
        "audit",
        title=title,
        verdict=verdict(findings),
        spoiled=bool(spoilers(findings)),
        refusal=findings["refusal"],
        tables=audit_tables(findings),
        lists=[listed for listed in lists if listed.rows],
        sections=[_section(findings, where, shown) for where in WHERE],
        bits=HASH_SIDE**2,
        near_distance=findings["near_distance"],
    )


def _section(findings: Mapping[str, Any], where: str, shown: int) -> dict[str, Any]:
    kinds = [
        [
            (copy, badge)
            for copy, badge in badged(findings, kind)
            if copy["where"] == where
        ]
        for kind in ("exact", "near")
    ]
    found = [copy for copies in kinds for copy in copies[:shown]]
    total = sum(map(len, kinds))
    return {
        "heading": HEADINGS[where],
        "why": _WHY[where],
        "total": total,
        "left_out": total - len(found),
        "groups": [
            {
                "badge": badge,
                "images": [
                    {
                        "image": _thumbnail(image["path"]),
                        "class": image["class"],
                        "role": image["role"],
                        "half": HALVES[image["role"]],
                        "name": os.path.basename(image["path"]),
                        "path": image["path"],
                    }
                    for image in copy["images"][:_MEMBERS]
                ],
                "more": more_of(copy["images"], _MEMBERS),
            }
            for copy, badge in found
        ],
    }


def _thumbnail(path: str) -> str | None:
    """Return the image as a data URL; None if the file is gone by now."""
    try:
        small = thumbnail_of(read_bytes(path), _SIDE)
    except OSError:
        return None
    return None if small is None else data_url(small)
