"""Retries: when a request is sent again, and for how long."""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from deml_tf.client.failures import ServerError

_T = TypeVar("_T")
# Seconds: waits are random, up to 0.5, 1, 2, 4, ... and at most 10, so that clients
# that failed together do not retry together.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_COUNTING = threading.Lock()


@dataclasses.dataclass
class Patience:
    """How long a client keeps trying; shared by its threads.

    Attributes:
        timeout: Seconds for one request.
        retries: Number of requests after the first one.
        until: Time of `time.monotonic` after which nothing is tried; None for no limit.
        stop: Set to end all waits and tries.
        retried: Number of requests that were sent again, by the code of the failure.
    """

    timeout: float
    retries: int
    until: float | None = None
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    retried: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )

    def call(self, request: Callable[[float], _T]) -> _T:
        """Send a request until it is answered or another try would not help.

        Args:
            request: Function of the seconds that it may take; raises `ServerError`.

        Returns:
            Its answer.

        Raises:
            ServerError: The error of the last try.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, ServerError) and error.retry
            ),
            stop=self._over,
            wait=tenacity.wait_random_exponential(_FIRST_WAIT, _LONGEST_WAIT),
            sleep=tenacity.sleep_using_event(self.stop),
            before_sleep=self._count,
            reraise=True,
        )
        return retrying(lambda: request(self._seconds()))

    def _seconds(self) -> float:
        if self.until is None:
            return self.timeout
        left = self.until - time.monotonic()
        if left <= 0:
            raise ServerError("DEADLINE_EXCEEDED", "the time for all images is over")
        return min(self.timeout, left)

    def _over(self, state: tenacity.RetryCallState) -> bool:
        wait = state.upcoming_sleep
        too_late = self.until is not None and time.monotonic() + wait >= self.until
        return too_late or state.attempt_number > self.retries or self.stop.is_set()

    def _count(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        if isinstance(error, ServerError):
            with _COUNTING:
                self.retried[error.code] += 1
