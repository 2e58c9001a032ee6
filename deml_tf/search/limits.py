"""Limits on requests: none from other sites, not too many, no waiting for slow clients.

ASGI middleware; the application inside does not notice it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Refuse = Callable[[Scope, int, str], Awaitable[Any]]
"""Called with the scope, a status and a sentence; returns a response."""

_SMALL = 2**18  # bytes of an answer that is never refused
_PIECE = 2**16  # bytes, about as many as the server buffers before it waits


async def busy(scope: Scope, refuse: Refuse) -> Any:
    """Make the response to one request too many.

    Args:
        scope: Scope of the request.
        refuse: Makes the response.
    """
    said = "Too many requests are waiting: try again in a moment."
    response = await refuse(scope, 503, said)
    response.headers["retry-after"] = "2"
    return response


class FixedHeaders:
    """Adds headers to every response.

    Args:
        app: The application inside.
        headers: The headers; those that a response sets itself are kept.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]):
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class OwnOrigin:
    """Refuses requests that pages of other sites make a browser send, except links.

    Args:
        app: The application inside.
        refuse: Makes the response.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse):
        self._app, self._refuse = app, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            if _is_foreign(Headers(scope=scope)):
                said = "This request comes from a page of another site."
                response = await self._refuse(scope, 403, said)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return True
    # Requests for images and frames name no origin; a link opens a document.
    is_elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    return is_elsewhere and headers.get("sec-fetch-dest") != "document"


class AtOnce:
    """Answers `running` requests at a time; others wait, and the rest are refused.

    Args:
        app: The application inside.
        refuse: Makes the response.
        running: Requests that are answered at a time.
        waiting: Requests that wait for their turn.
        concerns: Whether a request is limited; the others pass.
    """

    def __init__(
        self,
        app: ASGIApp,
        refuse: Refuse,
        running: int,
        waiting: int,
        concerns: Callable[[Scope], bool],
    ):
        self._app, self._refuse, self._concerns = app, refuse, concerns
        self._turns = asyncio.Semaphore(running)
        self._most, self._inside = running + waiting, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request when it is its turn."""
        if scope["type"] != "http" or not self._concerns(scope):
            await self._app(scope, receive, send)
            return
        if self._inside >= self._most:
            response = await busy(scope, self._refuse)
            await response(scope, receive, send)
            return
        self._inside += 1
        try:
            async with self._turns:
                await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class SentLast:
    """Sends an answer once it is complete and the application inside has ended.

    A client that does not read then occupies only its connection and its answer; if too
    much is held for such clients, large answers are refused.

    Args:
        app: The application inside.
        refuse: Makes the response.
        most_bytes: Limit on large answers that clients have not read yet.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse, most_bytes: int):
        self._app, self._refuse = app, refuse
        self._most, self._held = most_bytes, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        size = sum(len(message.get("body", b"")) for message in messages)
        size = size if size > _SMALL else 0
        if size and self._held and self._held + size > self._most:
            response = await busy(scope, self._refuse)
            await response(scope, receive, send)
            return
        self._held += size
        try:
            for message in messages:
                for piece in _pieces(message):
                    await send(piece)
        finally:
            self._held -= size


def _pieces(message: Message) -> Iterator[Message]:
    """Cut a body: the server would take a whole one without waiting for the client."""
    body = message.get("body", b"")
    last = max(0, len(body) - 1) // _PIECE * _PIECE
    for start in range(0, last, _PIECE):
        piece = body[start : start + _PIECE]
        yield {**message, "body": piece, "more_body": True}
    yield {**message, "body": body[last:]} if body else message
