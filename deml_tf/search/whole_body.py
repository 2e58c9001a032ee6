"""Reads the body of a request before its turn, and refuses large or slow bodies."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deml_tf.search.limits import Refuse, busy

_SECONDS = 60  # for the body of a request
_DRAINED = 8  # times the limit: how much of a refused body is read and dropped


class WholeBody:
    """Reads the body of a request before the application inside is asked.

    Bodies that are too large or too slow are refused, and so are too many at a time, as
    they are held in memory.

    Args:
        app: The application inside.
        refuse: Makes the response.
        most_bytes: Bytes of the largest body.
        at_once: Requests whose bodies are held at a time, from first byte to answer.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse, most_bytes: int, at_once: int):
        self._app, self._refuse, self._most = app, refuse, most_bytes
        self._at_once, self._inside = at_once, 0
        self._said = f"The upload is larger than {_megabytes(most_bytes)} MB."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        if self._inside >= self._at_once:
            response = await busy(scope, self._refuse)
            await response(scope, receive, send)
            return
        self._inside += 1
        try:
            body = await self._read(scope, receive)
            if body is not None:
                await self._app(scope, _replayed(body, receive), send)
        except _Refused as error:
            response = await self._refuse(scope, *error.args)
            await response(scope, receive, send)
        finally:
            self._inside -= 1

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body; None if the client leaves before its end."""
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._most:
            # Browsers show no answer that comes before they have sent everything.
            await _drain(receive, _DRAINED * self._most)
            raise _Refused(413, self._said)
        body = bytearray()
        try:
            async with asyncio.timeout(_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._most:
                        raise _Refused(413, self._said)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise _Refused(408, "The upload takes too long.") from error


class _Refused(Exception):
    """A status and a sentence."""


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    return length != "0" or "transfer-encoding" in headers


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a body that was read, and then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


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
