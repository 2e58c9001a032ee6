"""The JSON API: an image or a row in, the nearest images out."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deml_tf.search.answers import as_json
from deml_tf.search.found import Found
from deml_tf.search.query import Query
from deml_tf.search.questions import json_object, whole
from deml_tf.search.site import Site


class Api:
    """Handlers of requests.

    Args:
        site: What is searched.
    """

    def __init__(self, site: Site):
        self._site = site

    async def search(self, request: Request) -> Response:
        """Answer to an image, or to `{"row": id}` as JSON, each with `k` and `label`.

        Both are optional: in the query string with an image, in the object with a row.
        """
        row = None
        if request.headers.get("content-type", "").startswith("application/json"):
            given = await json_object(request)
            asked = self._site.wanted(given)
            if "row" not in given:
                raise HTTPException(400, 'The body names no row, such as {"row": 7}.')
            row = whole("row", given["row"])
            query = await self._site.query_of(row)
        else:
            asked = self._site.wanted(request.query_params)
            encoded = await request.body()
            if not encoded:
                raise HTTPException(400, "The body is empty: send an image's bytes.")
            query = await self._site.embed(encoded)
        found = await self._site.find(query, *asked, without=row)
        return as_json(_plain(query, found))


def _plain(query: Query, found: Found) -> dict[str, Any]:
    return {
        "unknown": found.unknown,
        "best_cosine": found.best,
        "threshold": found.threshold,
        "boxes": query.boxes,
        "results": [
            hit._asdict()
            | {"image": f"/image/{hit.row}", "thumbnail": f"/thumbnail/{hit.row}"}
            for hit in found.hits
        ],
    }
