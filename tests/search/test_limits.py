"""The limits one by one; tests/search/test_web.py has them together."""

import asyncio

import pytest

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse  # noqa: E402

from deml_tf.search.limits import OwnOrigin, SentLast  # noqa: E402
from tests.search.asgi import ever, request  # noqa: E402


async def refuse(scope, status, said):
    return PlainTextResponse(said, status)


def test_an_answer_is_sent_when_the_application_has_ended():
    done = asyncio.Event()

    async def inside(scope, receive, send):
        await PlainTextResponse("a")(scope, receive, send)
        done.set()

    async def send(message):
        assert done.is_set()
        sent.append(message["type"])

    sent = []
    asyncio.run(SentLast(inside, refuse, 9)(request(), ever, send))
    assert sent == ["http.response.start", "http.response.body"]


def test_large_answers_that_nobody_reads_are_limited():
    content = bytes(range(256)) * 2**12  # a megabyte

    async def inside(scope, receive, send):
        body = content if scope["path"] == "/large" else content[:1000]
        await PlainTextResponse(body)(scope, receive, send)

    async def ask(path, hangs=False):
        async def send(message):
            messages.append(message)
            if hangs:
                await ever()

        messages = []
        asking = asyncio.create_task(app(request(path=path), ever, send))
        await asyncio.wait([asking], timeout=0 if hangs else None)
        bodies = [message.get("body", b"") for message in messages[1:]]
        assert max(map(len, bodies), default=0) <= 2**16
        return asking, messages[0]["status"], b"".join(bodies)

    async def all_of_them():
        for _ in range(3):
            _, status, body = await ask("/large")
            assert (status, body) == (200, content)
        stuck = [(await ask("/large", hangs=True))[0] for _ in range(2)]
        assert (await ask("/large"))[1] == 503
        assert (await ask("/small"))[1:] == (200, content[:1000])
        stuck[0].cancel()
        await asyncio.wait(stuck[:1])
        assert (await ask("/large"))[1] == 200

    app = SentLast(inside, refuse, 5 * 2**19)
    asyncio.run(all_of_them())


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
    async def send(message):
        statuses.append(message.get("status"))

    statuses = []
    names = (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
    values = (site, mode, dest)
    headers = [(n, v.encode()) for n, v in zip(names, values, strict=True) if v]
    scope = request(*headers, path="/similar", method="GET")
    asyncio.run(OwnOrigin(PlainTextResponse("a"), refuse)(scope, ever, send))
    assert statuses[0] == status
