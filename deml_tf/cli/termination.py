"""Handles SIGTERM, which schedulers send some seconds before they kill a process.

SIGHUP, sent when the terminal is closed, is handled the same way unless it is ignored
(nohup).
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STATUS = 128 + signal.SIGTERM  # as shells show it

_asked = False  # SIGTERM or SIGHUP has arrived
_deferred = False  # whether the running code checks `asked` itself


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived; what cleans up after Ctrl-C cleans up after it too."""


def listen() -> None:
    """Have SIGTERM and SIGHUP raise `Terminated` in this process's main thread."""
    global _asked
    _asked = False
    for number in _heard():
        signal.signal(number, _come)


def asked() -> bool:
    """Return whether SIGTERM or SIGHUP has arrived."""
    return _asked


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Keep SIGTERM from interrupting the block, which checks `asked` itself.

    Raises:
        Terminated: After the block, if it has arrived.
    """
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False
    if _asked:
        raise Terminated


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the process at once, within the block.

    For a block that waits inside TensorFlow, where Python does not notice signals, and
    that has nothing to clean up. TensorFlow may handle the signal itself there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends = _heard()
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        ends.append(signal.SIGINT)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _heard() -> list[signal.Signals]:
    """Return the signals to handle: not SIGHUP if it is ignored (nohup)."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGTERM] + [signal.SIGHUP] * (not is_ignored)


def _come(number: int, frame: FrameType | None) -> None:
    global _asked
    # A closed terminal may send SIGHUP twice; the second must not disturb the end.
    again = _asked and number == signal.SIGHUP
    _asked = True
    if not (_deferred or again):
        raise Terminated
