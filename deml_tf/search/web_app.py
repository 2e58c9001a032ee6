"""The application: its routes, and the middleware around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from deml_tf.search import answers
from deml_tf.search.api import Api
from deml_tf.search.limits import AtOnce, FixedHeaders, OwnOrigin, SentLast
from deml_tf.search.pages import Pages
from deml_tf.search.site import Site
from deml_tf.search.whole_body import WholeBody

RUNNING, WAITING = 16, 64
"""Requests that are answered at a time, and that wait, of those that may embed an
image. Of all others as many again are answered, so that none waits for a slow embedder,
and eight times as many wait: a page asks for up to 200 thumbnails, and a browser does
not repeat a refused request."""
_LONGER = 8

_EMBEDDING = frozenset({"/similar", "/api/search"})
_BODIES = 32
"""Requests whose body is held in memory or still arriving."""
_UNREAD = 2**28
"""Bytes of large answers, such as photographs, that clients have not read yet."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data:; "
    "style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",  # without it, forms come from origin null
}


def make_app(
    site: Site,
    *,
    most_bytes: int,
    allowed_hosts: list[str],
    running: int = RUNNING,
    waiting: int = WAITING,
) -> ASGIApp:
    """Make the application that a server runs.

    Args:
        site: What is searched; closed when the server ends.
        most_bytes: Largest body of a request.
        allowed_hosts: Host names that requests may use; "*" for any.
        running: Requests that are answered at a time.
        waiting: Requests that wait for their turn, of those that may embed; of all
            others eight times as many. More are refused with status 503.
    """
    pages, api = Pages(site, most_bytes), Api(site)
    routes = [
        Route("/", pages.home),
        Route("/similar", pages.similar),
        Route("/similar", pages.upload, methods=["POST"]),
        Route("/image/{row}", pages.image),
        Route("/thumbnail/{row}", pages.thumbnail),
        Route("/style.css", pages.style),
        Route("/script.js", pages.script),
        Route("/api/search", api.search, methods=["POST"]),
    ]
    refuse: Any = answers.refusal_of

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        site.close()

    app = Starlette(
        routes=routes,
        middleware=[
            # Nothing inside AtOnce waits for a client.
            Middleware(SentLast, refuse, _UNREAD),
            Middleware(TrustedHostMiddleware, allowed_hosts, www_redirect=False),
            Middleware(OwnOrigin, refuse),
            Middleware(WholeBody, refuse, most_bytes, _BODIES),
            Middleware(AtOnce, refuse, running, waiting, _embeds),
            Middleware(AtOnce, refuse, running, _LONGER * waiting, _embeds_none),
        ],
        exception_handlers=answers.ON_ERRORS,
        lifespan=lifespan,
    )
    return FixedHeaders(app, _HEADERS)


def _embeds(scope: Scope) -> bool:
    return scope["path"] in _EMBEDDING


def _embeds_none(scope: Scope) -> bool:
    return not _embeds(scope)
