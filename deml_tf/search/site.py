"""What the web page and its API share: the index, the embedder and threads."""

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from starlette.exceptions import HTTPException

from deml_tf.bulk.index_reader import IndexReader, Rows
from deml_tf.cli.printing import printable
from deml_tf.data.converted_formats import converted
from deml_tf.data.disk_cache import file_state
from deml_tf.data.image_files import read_image_file
from deml_tf.errors import UsageError
from deml_tf.reports.page import jpeg
from deml_tf.reports.thumbnails import thumbnail_of
from deml_tf.search.asked_queries import AskedQueries, AskedQuery
from deml_tf.search.found import MOST, THUMBNAIL_SIDE, Found, find
from deml_tf.search.query import Query, QueryEmbedder
from deml_tf.search.questions import whole

_READERS = 4  # threads that read files, draw thumbnails and search
_THUMBNAILS, _QUERIES = 4096, 1024  # cached: about 60 MB and 3 MB
T = TypeVar("T")


class Wanted(NamedTuple):
    """What a search is to return.

    Attributes:
        k: Number of images.
        label: Label of the images that are searched; None searches all.
    """

    k: int
    label: str | None


class Site:
    """An index that is searched with the images that browsers and programs send.

    One thread embeds, one image after the other; others read, draw and search
    meanwhile.

    Args:
        reader: The index.
        embedder: Makes queries from images; called by one thread at a time.
        k: Number of images to find if a request gives none; default 20.

    Attributes:
        asked: Earlier uploads.
    """

    def __init__(self, reader: IndexReader, embedder: QueryEmbedder, k: int = 20):
        self.reader, self.k = reader, k
        self.asked = AskedQueries()
        self._embedder = embedder
        self._embedding = ThreadPoolExecutor(1, "embedding")
        self._reading = ThreadPoolExecutor(_READERS, "reading")
        self._thumbnail_of = functools.lru_cache(_THUMBNAILS)(self._draw)
        self._query_of = functools.lru_cache(_QUERIES)(self._embed_row)

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._embedding, self._reading):
            pool.shutdown(wait=False, cancel_futures=True)

    async def embed(self, encoded: bytes) -> Query:
        """Embed an image that was sent.

        Args:
            encoded: Its file; any bytes are allowed.

        Raises:
            UnusableImageError: It is not an image, or the embedder does not accept it.
            DataError: The embedder does not work.
        """
        _, query = await self._embed(encoded)
        return query

    async def ask(self, encoded: bytes) -> str:
        """Embed an image that was sent, and keep it.

        Args:
            encoded: Its file; any bytes are allowed.

        Returns:
            Its name among `asked`.

        Raises:
            UnusableImageError, DataError: As for `embed`.
        """
        encoded, query = await self._embed(encoded)
        small = await _in(self._reading, thumbnail_of, encoded, THUMBNAIL_SIDE)
        return self.asked.add(AskedQuery(query, small and jpeg(small)))

    async def query_of(self, row: int) -> Query:
        """Embed an image of the index.

        Args:
            row: Its id.

        Raises:
            HTTPException: There is no such image, or its file is gone.
            UnusableImageError, DataError: As for `embed`.
        """
        self.row(row)
        state = await _in(self._reading, self._state, row)
        return await _in(self._embedding, self._query_of, row, state)

    async def find(
        self, query: Query, k: int, label: str | None, without: int | None = None
    ) -> Found:
        """Search; see `find`."""
        search = functools.partial(find, label=label, without=without)
        return await _in(self._reading, search, self.reader, query, k)

    async def thumbnail(self, row: int) -> bytes:
        """Return a thumbnail as a JPEG file.

        Args:
            row: Id of an image of the index.

        Raises:
            HTTPException: There is no such image, or its file is gone or broken.
        """
        self.row(row)
        return await _in(self._reading, self._thumbnail, row)

    async def read(self, row: int) -> bytes:
        """Return the file of an image of the index.

        Args:
            row: Its id.

        Raises:
            HTTPException: There is no such image, or its file is gone.
        """
        self.row(row)
        return await _in(self._reading, self._read, row)

    def wanted(self, given: Mapping[str, Any]) -> Wanted:
        """Read what a search is to return.

        Args:
            given: May hold k and label; empty ones count as missing.

        Raises:
            HTTPException: One of them is wrong.
        """
        k, label = given.get("k"), given.get("label")
        label = None if label in (None, "") else self.label_named(label)
        number = self.k if k in (None, "") else whole("k", k, 1, MOST)
        return Wanted(number, label)

    def label_named(self, name: Any) -> str:
        """Return a label of the index, and refuse one that no image has.

        Args:
            name: What was asked for, perhaps as a page shows it.

        Raises:
            HTTPException: No image has it.
        """
        found = self.reader.label_named(name) if isinstance(name, str) else None
        if found is None:
            shown = printable(str(name))[:80]
            raise HTTPException(400, f"label={shown}: no image of the index has it.")
        return found

    def row(self, row: int) -> Rows:
        """Return the row of an image.

        Args:
            row: Its id.

        Raises:
            HTTPException: There is no such image.
        """
        try:
            return self.reader.rows_of([row])
        except UsageError as error:
            raise HTTPException(404, f"The index has no row {row}.") from error

    async def _embed(self, encoded: bytes) -> tuple[bytes, Query]:
        """Return the image, converted as it was embedded, and its query."""
        encoded = await _in(self._reading, converted, encoded)
        return encoded, await _in(self._embedding, self._embedder.embed, encoded)

    def _read(self, row: int) -> bytes:
        with _gone(row):
            return read_image_file(str(self.row(row).paths[0]))

    def _state(self, row: int) -> str:
        with _gone(row):
            return file_state(os.stat(str(self.row(row).paths[0])))

    def _thumbnail(self, row: int) -> bytes:
        return self._thumbnail_of(row, self._state(row))

    def _draw(self, row: int, state: str) -> bytes:
        """Draw a thumbnail, which is cached for the state of the file."""
        small = thumbnail_of(self._read(row), THUMBNAIL_SIDE)
        if small is None:
            raise HTTPException(410, f"The file of row {row} is no image any more.")
        return jpeg(small)

    def _embed_row(self, row: int, state: str) -> Query:
        """Embed an image; the query is cached for the state of the file."""
        return self._embedder.embed(self._read(row))


@contextlib.contextmanager
def _gone(row: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HTTPException(
            410, f"The file of row {row} cannot be read ({error.strerror})."
        ) from error


async def _in(pool: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)
