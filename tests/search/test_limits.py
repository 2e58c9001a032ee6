"""The limits one by one; tests/search/test_web.py has them together."""

import asyncio

import pytest

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse  # noqa: E402

from deml_tf.search.limits import SentLast  # noqa: E402
from tests.search.asgi import ever, request  # noqa: E402


def test_an_answer_is_sent_when_the_application_has_ended():
    done = asyncio.Event()

    async def inside(scope, receive, send):
        await PlainTextResponse("a")(scope, receive, send)
        done.set()

    async def send(message):
        assert done.is_set()
        sent.append(message["type"])

    sent = []
    asyncio.run(SentLast(inside)(request(), ever, send))
    assert sent == ["http.response.start", "http.response.body"]
