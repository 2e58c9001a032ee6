"""The web page: forms and pictures, which work without a script."""

import os
from typing import Any
from urllib.parse import urlencode

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deml_tf.data.image_files import media_type
from deml_tf.reports.drawing import SCALE_COLOURS, hex
from deml_tf.reports.page import encoded_url, render
from deml_tf.search.answers import kept, page
from deml_tf.search.found import MOST
from deml_tf.search.questions import uploaded, whole
from deml_tf.search.site import Site

_A_PAGE = 60  # images of the index on a page
_MOST_NAMED = 2000  # labels that a browser suggests
_COLOURS = [hex(colour) for colour in SCALE_COLOURS]


class Pages:
    """Handlers of requests.

    Args:
        site: What is searched.
        most_bytes: Bytes of the largest upload.
    """

    def __init__(self, site: Site, most_bytes: int):
        self._site = site
        about = site.reader.description
        self._common = {
            "most_bytes": most_bytes,
            "most": MOST,
            "labels": list(site.reader.labels)[:_MOST_NAMED],
            "index": f"{about.count:,} images, {about.model} version {about.version}",
            "scales": [f"scale{n % len(_COLOURS)}" for n in range(about.scales)],
        }

    async def home(self, request: Request) -> Response:
        """Show the form, and the images of the index, page by page."""
        label = request.query_params.get("label") or None
        if label is not None:
            label = self._site.label_named(label)
        reader = self._site.reader
        total = reader.count if label is None else reader.labels[label]
        last = max(1, -(-total // _A_PAGE))
        number = whole("page", request.query_params.get("page", "1"), 1, last)
        start = (number - 1) * _A_PAGE
        ids = reader.ids(label)[start : start + _A_PAGE]
        return page(
            "search_home",
            title="Search by image",
            k=self._site.k,
            label=label or "",
            total=f"{total:,}",
            images=self._images(ids),
            number=number,
            last=last,
            before=_address("/", label=label, page=number - 1) if number > 1 else "",
            after=_address("/", label=label, page=number + 1) if number < last else "",
            **self._common,
        )

    async def upload(self, request: Request) -> Response:
        """Take an image, and redirect to the images like it."""
        encoded, given = await uploaded(request)
        k, label = self._site.wanted(given)
        name = await self._site.ask(encoded)
        where = _address("/similar", query=name, k=k, label=label)
        return RedirectResponse(where, 303)

    async def similar(self, request: Request) -> Response:
        """Show the images like one of the index, or like an earlier upload."""
        given = request.query_params
        k, label = self._site.wanted(given)
        row, source = None, {}
        if "row" in given:
            row = whole("row", given["row"])
            query = await self._site.query_of(row)
            (shown,) = self._images(np.array([row]))
            source = {"row": row}
        else:
            asked = self._site.asked.get(given.get("query", ""))
            if asked is None:
                raise HTTPException(404, "This upload is forgotten: send it again.")
            query, small = asked
            source = {"query": given["query"]}
            image = encoded_url(small) if small else ""
            shown = {"thumbnail": image, "label": "", "name": "your image", "href": ""}
        found = await self._site.find(query, k, label, row)
        hits = [
            self._image(hit.row, hit.path, hit.label, hit.boxes)
            | {"cosine": f"{hit.cosine:.3f}", "like": _address("/similar", row=hit.row)}
            for hit in found.hits
        ]
        return page(
            "search_found",
            title="Search by image",
            k=k,
            label=label or "",
            source=source,
            query=shown | {"boxes": _rectangles(query.boxes)},
            found=found,
            hits=hits,
            **self._common,
        )

    async def image(self, request: Request) -> Response:
        """Send the file of an image of the index, with the type that its bytes show."""
        encoded = await self._site.read(whole("row", request.path_params["row"]))
        kind = media_type(encoded)
        if kind is None:
            raise HTTPException(410, "This file is no image any more.")
        return kept(request, encoded, kind)

    async def thumbnail(self, request: Request) -> Response:
        """Send a small copy of an image of the index."""
        small = await self._site.thumbnail(whole("row", request.path_params["row"]))
        return kept(request, small, "image/jpeg")

    async def style(self, request: Request) -> Response:
        """Send the style sheet."""
        text = render("search.css.jinja", colours=_COLOURS)
        return kept(request, text, "text/css")

    async def script(self, request: Request) -> Response:
        """Send the script, which makes the page handier."""
        return kept(request, render("search.js.jinja"), "text/javascript")

    def _images(self, ids: np.ndarray) -> list[dict[str, Any]]:
        rows = self._site.reader.rows_of(ids)
        return [self._image(int(row), *rest) for row, *rest in zip(*rows, strict=True)]

    def _image(self, row: int, path: str, label: str | None, boxes: Any) -> Any:
        return {
            "thumbnail": f"/thumbnail/{row}",
            "href": f"/image/{row}",
            "like": _address("/similar", row=row),
            "label": label or "",
            "name": os.path.basename(path),
            "path": path,
            "boxes": _rectangles(boxes),
        }


def _rectangles(boxes: np.ndarray) -> list[dict[str, Any]]:
    """Describe boxes (i, 4) as an SVG does; those with NaN are left out."""
    found = []
    for scale, box in enumerate(np.asarray(boxes, np.float64)):
        if np.isfinite(box).all():
            top, left, bottom, right = (f"{edge:.4f}" for edge in np.clip(box, 0, 1))
            found.append(
                {
                    "name": f"scale{scale % len(_COLOURS)}",
                    "x": left,
                    "y": top,
                    "width": f"{max(0.0, float(right) - float(left)):.4f}",
                    "height": f"{max(0.0, float(bottom) - float(top)):.4f}",
                }
            )
    return found


def _address(path: str, **given: Any) -> str:
    return f"{path}?{urlencode({k: v for k, v in given.items() if v is not None})}"
