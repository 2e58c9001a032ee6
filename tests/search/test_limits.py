"""The limits one by one; tests/search/test_web.py has them together."""

import asyncio

import pytest

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse  # noqa: E402

from deml_tf.search.limits import OwnOrigin, SentLast  # noqa: E402
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


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("cross-site", "no-cors", "image", 403),
        ("same-site", "no-cors", "image", 403),  # another port of this machine
        ("cross-site", "no-cors", "empty", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "navigate", "document", 200),  # a link
        ("same-site", "navigate", "document", 200),
        ("same-origin", "no-cors", "image", 200),
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
        (None, None, None, 200),  # curl
    ],
)
def test_what_pages_of_other_sites_show_is_refused(site, mode, dest, status):
    async def refuse(scope, status, said):
        return PlainTextResponse(said, status)

    async def send(message):
        statuses.append(message.get("status"))

    statuses = []
    names = (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
    values = (site, mode, dest)
    headers = [(n, v.encode()) for n, v in zip(names, values, strict=True) if v]
    scope = request(*headers, path="/similar", method="GET")
    asyncio.run(OwnOrigin(PlainTextResponse("a"), refuse)(scope, ever, send))
    assert statuses[0] == status
