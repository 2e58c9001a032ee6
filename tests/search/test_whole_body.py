"""The body of a request, before an application that only reads."""

import asyncio

import pytest

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse  # noqa: E402

from deml_tf.search import whole_body  # noqa: E402
from deml_tf.search.whole_body import WholeBody  # noqa: E402
from tests.search.asgi import ever, request  # noqa: E402


class Reads:
    """Reads a whole body; tells how large it was, and what comes after it."""

    def __init__(self):
        self.seen = self.after = None

    async def __call__(self, scope, receive, send):
        self.seen, more = 0, True
        while more:
            message = await receive()
            self.seen += len(message.get("body", b""))
            more = message.get("more_body")
        self.after = (await receive())["type"]


async def refuse(scope, status, said):
    return PlainTextResponse(said, status)


async def ignore(message):
    pass


def ask(app, pieces, declared=None, pause=0.0):
    """Sends pieces and leaves; gives the statuses of answers, and the pieces read."""
    length = (b"content-length", str(declared).encode())
    scope = request(length if declared else (b"transfer-encoding", b"chunked"))
    left, statuses = list(pieces), []

    async def receive():
        await asyncio.sleep(pause)
        if not left:
            return {"type": "http.disconnect"}
        body = left.pop(0)
        more = bool(left) or bool(declared) and sum(map(len, pieces)) < declared
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(message):
        statuses.append(message.get("status"))

    asyncio.run(app(scope, receive, send))
    return [s for s in statuses if s], len(pieces) - len(left)


def test_a_body_up_to_the_limit_is_read():
    inside = Reads()
    assert ask(WholeBody(inside, refuse, 30, 1), [bytes(10)] * 3, 30) == ([], 3)
    assert (inside.seen, inside.after) == (30, "http.disconnect")


def test_a_body_that_tells_too_much_is_read_and_thrown_away():
    inside = Reads()
    found = ask(WholeBody(inside, refuse, 30, 1), [bytes(10)] * 4, 40)
    assert found == ([413], 4) and inside.seen is None
    found = ask(WholeBody(inside, refuse, 30, 1), [bytes(10)] * 99, 990)
    assert found == ([413], 25)  # as many as are more than eight times the limit


def test_a_body_that_tells_nothing_is_counted():
    inside = Reads()
    assert ask(WholeBody(inside, refuse, 30, 1), [bytes(10)] * 9) == ([413], 4)
    assert ask(WholeBody(inside, refuse, 30, 1), [bytes(10)] * 3) == ([], 3)
    assert inside.seen == 30


def test_a_slow_body_is_given_up(monkeypatch):
    monkeypatch.setattr(whole_body, "_SECONDS", 0.05)
    inside = Reads()
    statuses, read = ask(WholeBody(inside, refuse, 30, 1), [b"a"] * 9, 9, pause=0.02)
    assert statuses == [408] and read < 9 and inside.seen is None


def test_nobody_answers_a_client_that_has_left():
    inside = Reads()
    app = WholeBody(inside, refuse, 30, 1)
    assert ask(app, [b"a"] * 3, 9) == ([], 3) and inside.seen is None
    assert ask(app, [b"a"] * 3, 3) == ([], 3) and inside.seen == 3  # its place is free


def test_bodies_are_counted_until_they_are_answered():
    """Those that are on their way, too; requests without a body go on."""
    inside = Reads()
    app = WholeBody(inside, refuse, 30, 1)

    async def several():
        slow = asyncio.create_task(
            app(request((b"content-length", b"9")), ever, ignore)
        )
        await asyncio.sleep(0)
        sent = []

        async def send(message):
            sent.append(message)

        await app(request((b"content-length", b"1")), ever, send)
        assert sent[0]["status"] == 503 and (b"retry-after", b"2") in sent[0]["headers"]

        async def nothing():
            return {"type": "http.disconnect"}

        await app(request(method="GET"), nothing, send)
        assert len(sent) == 2 and inside.after
        slow.cancel()

    asyncio.run(several())
