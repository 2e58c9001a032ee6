"""When a request is sent again, and when not."""

import threading
import time

import pytest

from deml_tf.client import retries
from deml_tf.client.failures import (
    OtherVersionError,
    ServerError,
    WrongAnswerError,
)
from deml_tf.client.retries import Patience

AGAIN = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"]
NEVER = ["INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "INTERNAL", "HTTP 418"]


def failing(code, times, message=""):
    tries = []

    def request(seconds):
        tries.append(seconds)
        if len(tries) <= times:
            raise ServerError(code, message)
        return "done"

    return request, tries


@pytest.mark.parametrize("code", AGAIN)
def test_codes_that_deserve_it(code):
    patience = Patience(timeout=7, retries=3)
    request, tries = failing(code, 3)
    assert patience.call(request) == "done"
    assert tries == [7] * 4 and patience.retried == {code: 3}
    request, tries = failing(code, 4)
    with pytest.raises(ServerError, match=code):
        patience.call(request)
    assert len(tries) == 4


@pytest.mark.parametrize("code", NEVER)
def test_codes_that_do_not(code):
    request, tries = failing(code, 1)
    with pytest.raises(ServerError):
        Patience(7, 3).call(request)
    assert len(tries) == 1


def test_a_message_too_long_stays_too_long():
    text = "Received message larger than max (9 vs. 4)"
    request, tries = failing("RESOURCE_EXHAUSTED", 1, text)
    with pytest.raises(ServerError):
        Patience(7, 3).call(request)
    assert len(tries) == 1


def test_what_no_try_and_no_other_image_mends():
    untrusted = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
    for error in (
        ServerError("UNAVAILABLE", untrusted),
        ServerError("HTTP 302", ""),
        ServerError("HTTP 407", ""),
        WrongAnswerError(""),
        OtherVersionError(1, 2),
    ):
        assert error.of_all and not error.retry


def test_ends_with_the_time_for_all(monkeypatch):
    monkeypatch.setattr(retries, "_LONGEST_WAIT", 0.05)
    patience = Patience(timeout=7, retries=100, until=time.monotonic() + 0.2)
    request, tries = failing("UNAVAILABLE", 10**6)
    # the latter where a busy machine sleeps longer than it was told
    with pytest.raises(ServerError, match="UNAVAILABLE|time for all images is over"):
        patience.call(request)
    assert 1 < len(tries) <= patience.retried.total() + 1 < 100
    assert all(seconds <= 0.2 for seconds in tries)
    patience.until = time.monotonic() - 1
    with pytest.raises(ServerError, match="time for all images is over"):
        patience.call(request)


def test_ends_when_told(monkeypatch):
    monkeypatch.setattr(retries, "_FIRST_WAIT", 600.0)
    monkeypatch.setattr(retries, "_LONGEST_WAIT", 600.0)
    patience = Patience(7, 10)
    request, tries = failing("UNAVAILABLE", 10**6)
    threading.Timer(0.1, patience.stop.set).start()
    with pytest.raises(ServerError):
        patience.call(request)
    assert len(tries) == 2  # waits end, and one more try says how it is
