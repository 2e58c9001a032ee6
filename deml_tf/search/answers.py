"""The answers of the server: pages, JSON, files and errors."""

import hashlib
import sys
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from deml_tf.cli.printing import say
from deml_tf.errors import DataError, UsageError
from deml_tf.reports.page import render
from deml_tf.runs.json_text import json_text
from deml_tf.search.query import UnusableImageError

API = "/api/"
_FAILED = "The server has failed at this request; the terminal says more."
_FORMATS = "send a JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or HEIC file"


def page(template: str, status: int = 200, **context: Any) -> Response:
    """Answer with a page.

    Args:
        template: Name of a template, such as "search_home".
        status: HTTP status.
        **context: What the template shows.
    """
    return HTMLResponse(render(f"{template}.html.jinja", **context), status)


def as_json(content: Any, status: int = 200) -> Response:
    """Answer with JSON.

    Args:
        content: Nested mappings and lists.
        status: HTTP status.
    """
    return Response(json_text(content) + "\n", status, media_type="application/json")


def kept(request: Request, content: bytes | str, kind: str) -> Response:
    """Answer with what a browser may cache, if it asks each time whether it changed.

    The same address shows something else once another index is served.

    Args:
        request: The browser's; it may name what was cached.
        content: The answer's body.
        kind: Its media type.
    """
    body = content.encode() if isinstance(content, str) else content
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"cache-control": "private, no-cache", "etag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


async def refusal_of(scope: Scope, status: int, said: str) -> Response:
    """Answer with a sentence: in JSON for the API, otherwise on a page.

    Args:
        scope: Scope of the request.
        status: HTTP status.
        said: The sentence.
    """
    if scope["path"].startswith(API):
        return as_json({"error": said}, status)
    return page("search_error", status, title="Search", said=said)


async def http_error(request: Request, error: Exception) -> Response:
    """Answer to an error that a handler raised on purpose."""
    assert isinstance(error, HTTPException)
    said = {
        404: "There is no such page.",
        405: f"This address takes no {request.method} request.",
    }.get(error.status_code)
    own = " " in error.detail and error.detail.endswith(".")
    text = error.detail if own else said or f"{error.detail}."
    response = await refusal_of(request.scope, error.status_code, text)
    response.headers.update(error.headers or {})
    return response


async def unusable_image(request: Request, error: Exception) -> Response:
    """Answer to an image that cannot be embedded."""
    said = f"The image cannot be used ({error}): {_FORMATS}."
    return await refusal_of(request.scope, 415, said)


async def embedder_failed(request: Request, error: Exception) -> Response:
    """Answer if no image can be embedded, as when the model server is down."""
    say(f"error: {error}", sys.stderr)
    said = "Images cannot be embedded at present; the terminal says why."
    return await refusal_of(request.scope, 502, said)


async def failure(request: Request, error: Exception) -> Response:
    """Answer if the program is at fault, without telling its internals."""
    return await refusal_of(request.scope, 500, _FAILED)


ON_ERRORS = {
    HTTPException: http_error,
    UnusableImageError: unusable_image,
    DataError: embedder_failed,
    UsageError: embedder_failed,
    Exception: failure,
}
"""Handlers by the errors that they handle."""
