"""Clients that are slow: none of them keeps others from being answered."""

import asyncio

import pytest

pytest.importorskip("starlette")

from deml_tf.search import web_app  # noqa: E402
from deml_tf.search.site import Site  # noqa: E402
from tests.search.asgi import ever, request  # noqa: E402
from tests.search.made_index import StubEmbedder  # noqa: E402


def after_a_slow_one(reader, scope, sends, path):
    """The status of a path while one turn is all there is, and a client does nothing.

    Args:
        reader: An index.
        scope: The client's request.
        sends: Whether it has sent it to its end, and does not read the answer.
        path: What is asked for then.
    """
    site = Site(reader, StubEmbedder())
    app = web_app.make_app(
        site, most_bytes=1000, allowed_hosts=["*"], running=1, waiting=9
    )

    async def both():
        stuck, statuses = asyncio.Event(), []

        async def receive():
            if not sends:
                stuck.set()
                await ever()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            stuck.set()
            await ever()

        async def seen(message):
            statuses.append(message.get("status"))

        slow = asyncio.create_task(app(scope, receive, send))
        async with asyncio.timeout(20):
            await stuck.wait()
            await app(request(path=path, method="GET"), ever, seen)
        assert not slow.done()
        slow.cancel()
        return statuses[0]

    try:
        return asyncio.run(both())
    finally:
        site.close()


@pytest.mark.parametrize("path", ["/api/search", "/similar"])
def test_a_client_that_sends_no_body_holds_no_turn(reader, path):
    scope = request((b"content-length", b"9"), path=path)
    assert after_a_slow_one(reader, scope, sends=False, path="/similar") == 404


@pytest.mark.parametrize("path", ["/image/3", "/none"])
def test_a_client_that_reads_no_answer_holds_no_turn(reader, path):
    scope = request(path=path, method="GET")
    assert after_a_slow_one(reader, scope, sends=True, path="/") == 200
