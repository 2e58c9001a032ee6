"""When a request is sent again, and when not."""

import threading

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


class Clock(threading.Event):
    """Waits for the event are over at once, and move the time on."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def wait(self, timeout=None):
        self.now += timeout or 0
        return self.is_set()


def test_ends_with_the_time_for_all(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.5)
    monkeypatch.setattr("tenacity.wait.random.uniform", lambda low, high: high)
    patience = Patience(timeout=7, retries=100, until=clock.now + 10, stop=clock)
    request, tries = failing("UNAVAILABLE", 10**6)
    with pytest.raises(ServerError, match="UNAVAILABLE"):
        patience.call(request)
    assert tries == [7, 7, 7, 6.5, 2.5]  # after waits of 0.5, 1, 2 and 4
    assert patience.retried == {"UNAVAILABLE": 4} and clock.now == 1007.5
    clock.now = 1011  # a busy machine slept longer than it was told
    with pytest.raises(ServerError, match="time for all images is over"):
        patience.call(request)
    assert len(tries) == 5


class Told(threading.Event):
    """Set by another thread as soon as it is waited for."""

    def wait(self, timeout=None):
        self.set()
        return super().wait(timeout)


def test_ends_when_told():
    request, tries = failing("UNAVAILABLE", 10**6)
    with pytest.raises(ServerError):
        Patience(7, 10, stop=Told()).call(request)
    assert len(tries) == 2  # waits end, and one more try says how it is
