"""Queries embedded by a server, which holds the model that the index was made with."""

from deml_tf.client.connection import Client
from deml_tf.search.query import Query, UnusableImageError


class ServerEmbedder:
    """Embeds queries with a server.

    The server does not report its weights, so the client should ask for exactly the
    version that the index names.

    Args:
        client: Client of the server.
    """

    def __init__(self, client: Client):
        self._client = client

    def warm_up(self) -> None:
        """Ask whether the server has the version.

        Raises:
            UsageError: It has not.
            DataError: It cannot be reached.
        """
        self._client.check()

    def embed(self, encoded: bytes) -> Query:
        """Embed an image; see `QueryEmbedder`."""
        found = self._client.embed([encoded])
        if not found.valid[0]:
            raise UnusableImageError(found.reasons[0])
        return Query(found.embedding[0], found.boxes[0])
