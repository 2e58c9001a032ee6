"""Files read by threads, one batch ahead of the network."""

import collections
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from deml_tf.data.image_files import read_image_file

_THREADS = 8  # they wait for disks
_AHEAD = 1  # batches; each may be large


class Content(NamedTuple):
    """The result of reading a file.

    Attributes:
        encoded: Its bytes; empty if it cannot be read.
        reason: Why it cannot be read; empty if it can.
    """

    encoded: bytes
    reason: str = ""


@contextlib.contextmanager
def reading(batches: Iterable[Sequence[str]]) -> Iterator[Iterator[list[Content]]]:
    """Read files while the batch before them is processed.

    Args:
        batches: Paths; each batch is requested just before the previous one is yielded.

    Yields:
        An iterator of the batches' contents, in order.
    """
    pool = ThreadPoolExecutor(_THREADS)
    try:
        yield _contents(pool, batches)
    finally:
        pool.shutdown(cancel_futures=True)


def _contents(
    pool: ThreadPoolExecutor, batches: Iterable[Sequence[str]]
) -> Iterator[list[Content]]:
    waiting: collections.deque[list[Future[Content]]] = collections.deque()
    for batch in batches:
        waiting.append([pool.submit(_read, path) for path in batch])
        if len(waiting) > _AHEAD:
            yield [future.result() for future in waiting.popleft()]
    while waiting:
        yield [future.result() for future in waiting.popleft()]


def _read(path: str) -> Content:
    try:
        return Content(read_image_file(path))
    except OSError as error:
        return Content(b"", f"cannot be read ({error.strerror or error})")
