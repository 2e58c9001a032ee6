"""What no request can do: send too much, take too long, or come with a thousand others.

ASGI middleware; the application inside sees nothing of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Refuse = Callable[[Scope, int, str], Awaitable[Any]]
"""Called with the scope, a status and a sentence; returns a response."""

_SECONDS = 60  # for the body of a request
_DRAINED = 8  # times the limit: what is read of a body only to be thrown away


class FixedHeaders:
    """Adds headers to every response.

    Args:
        app: The application inside.
        headers: The headers; what a response says itself is kept.
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
    """Refuses what pages of other sites have a browser send.

    Args:
        app: The application inside.
        refuse: Makes the response.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse):
        self._app, self._refuse = app, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin, host = headers.get("origin"), headers.get("host")
            if origin is not None and origin.partition("://")[2] != host:
                said = "This request comes from a page of another site."
                response = await self._refuse(scope, 403, said)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


class AtOnce:
    """Answers some requests at once; others wait, and still others are refused.

    Args:
        app: The application inside.
        refuse: Makes the response.
        running: Requests that are answered at once.
        waiting: Requests that wait for their turn.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse, running: int, waiting: int):
        self._app, self._refuse = app, refuse
        self._turns = asyncio.Semaphore(running)
        self._most, self._inside = running + waiting, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request when it is its turn."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._inside >= self._most:
            said = "Too many requests are waiting: try again in a moment."
            response = await self._refuse(scope, 503, said)
            response.headers["retry-after"] = "2"
            await response(scope, receive, send)
            return
        self._inside += 1
        try:
            async with self._turns:
                await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class LimitedBody:
    """Refuses requests whose body is too large or too slow.

    Args:
        app: The application inside.
        refuse: Makes the response.
        most_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse, most_bytes: int):
        self._app, self._refuse, self._most = app, refuse, most_bytes
        self._said = f"The upload is larger than {_megabytes(most_bytes)} MB."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._most:
            # Browsers show no answer that comes before they have sent everything.
            await _drain(receive, _DRAINED * self._most)
            response = await self._refuse(scope, 413, self._said)
            await response(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        until = asyncio.get_running_loop().time() + _SECONDS
        seen, more = 0, True

        async def counted() -> Message:
            nonlocal seen, more
            if not more:  # it is waited for the client to go
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, "The upload takes too long.") from error
            seen += len(message.get("body", b""))
            more = message.get("more_body", False)
            if seen > self._most:
                raise HTTPException(413, self._said)
            return message

        return counted


async def _drain(receive: Receive, most: int) -> None:
    seen = 0
    try:
        async with asyncio.timeout(_SECONDS):
            while seen <= most:
                message = await receive()
                seen += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.3g}"
