"""The limits one by one, around an application that only reads."""

import asyncio

import pytest

pytest.importorskip("starlette")

from starlette.exceptions import HTTPException  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402

from deml_tf.search import limits  # noqa: E402
from deml_tf.search.limits import LimitedBody  # noqa: E402


class Reads:
    """Reads a whole body; tells how large it was, or with what it was refused."""

    def __init__(self):
        self.seen = self.status = None

    async def __call__(self, scope, receive, send):
        self.seen = 0
        try:
            while True:
                message = await receive()
                self.seen += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
        except HTTPException as error:
            self.status = error.status_code


async def refuse(scope, status, said):
    return PlainTextResponse(said, status)


def ask(app, pieces, declared=None, pause=0.0):
    """Sends pieces; gives the statuses of answers, and how many pieces were read."""
    headers = [(b"content-length", str(declared).encode())] if declared else []
    scope = {"type": "http", "path": "/", "headers": headers}
    left, statuses = list(pieces), []

    async def receive():
        await asyncio.sleep(pause)
        return {
            "type": "http.request",
            "body": left.pop(0),
            "more_body": bool(left),
        }

    async def send(message):
        statuses.append(message.get("status"))

    asyncio.run(app(scope, receive, send))
    return [s for s in statuses if s], len(pieces) - len(left)


def test_a_body_up_to_the_limit_is_read():
    inside = Reads()
    assert ask(LimitedBody(inside, refuse, 30), [bytes(10)] * 3, 30) == ([], 3)
    assert (inside.seen, inside.status) == (30, None)


def test_a_body_that_tells_too_much_is_read_and_thrown_away():
    inside = Reads()
    found = ask(LimitedBody(inside, refuse, 30), [bytes(10)] * 4, 40)
    assert found == ([413], 4) and inside.seen is None
    found = ask(LimitedBody(inside, refuse, 30), [bytes(10)] * 99, 990)
    assert found == ([413], 25)  # as many as are more than eight times the limit


def test_a_body_that_tells_nothing_is_counted():
    inside = Reads()
    assert ask(LimitedBody(inside, refuse, 30), [bytes(10)] * 9) == ([], 4)
    assert (inside.seen, inside.status) == (30, 413)


def test_a_slow_body_is_given_up(monkeypatch):
    monkeypatch.setattr(limits, "_SECONDS", 0.05)
    inside = Reads()
    ask(LimitedBody(inside, refuse, 30), [b"a"] * 9, 9, pause=0.02)
    assert inside.status == 408 and inside.seen < 9
