"""The most recent queries, each under a name that nobody can guess."""

import secrets
import threading
from collections import OrderedDict
from typing import NamedTuple

from deml_tf.search.query import Query

_MOST = 256  # each takes some 30 kB


class AskedQuery(NamedTuple):
    """An image that was sent.

    Attributes:
        query: Its embedding and boxes.
        thumbnail: A JPEG file; None if Pillow cannot read the image.
    """

    query: Query
    thumbnail: bytes | None


class AskedQueries:
    """Keeps queries, so that another label or number of images needs no new upload."""

    def __init__(self):
        self._kept: OrderedDict[str, AskedQuery] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, asked: AskedQuery) -> str:
        """Keep a query; the least recently used one may be dropped.

        Args:
            asked: The query.

        Returns:
            Its name.
        """
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[name] = asked
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> AskedQuery | None:
        """Return a query; None if it is unknown or was dropped.

        Args:
            name: As `add` returned it.
        """
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)
