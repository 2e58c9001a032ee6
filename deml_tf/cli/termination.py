"""SIGTERM, which schedulers send some seconds before they kill."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STATUS = 128 + signal.SIGTERM  # as shells show it

_asked = False  # SIGTERM has come
_deferred = False  # whether the code under way looks at `asked` itself


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; what tidies up after Ctrl-C tidies up after it too."""


def listen() -> None:
    """Have SIGTERM raise `Terminated` in this process's main thread."""
    global _asked
    _asked = False
    signal.signal(signal.SIGTERM, _come)


def asked() -> bool:
    """Return whether SIGTERM has come."""
    return _asked


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let SIGTERM interrupt nothing in the block, which looks at `asked` itself.

    Raises:
        Terminated: After the block, if it has come.
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
    """Let SIGTERM end the process in the midst of the block.

    For a block that waits inside TensorFlow, where Python hears of no signal, and that
    has nothing to tidy up. TensorFlow may take the signal for itself there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _come(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    if not _deferred:
        raise Terminated
