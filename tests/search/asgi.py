"""Requests without a socket."""

import asyncio


def request(*headers, path="/", method="POST"):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
    }


async def ever():
    """Waits for a client that does nothing."""
    await asyncio.Event().wait()
