"""Queries embedded in this process, by the export that the index was made with."""

import os

from deml_tf.bulk.embed_shards import reasons
from deml_tf.bulk.index_reader import IndexReader
from deml_tf.bulk.model_id import ModelId
from deml_tf.bulk.read_ahead import Content
from deml_tf.bulk.served_export import ServedExport, read_export
from deml_tf.search.query import Query, UnusableImageError


class ExportEmbedder:
    """Embeds queries with an export.

    Args:
        export: Folder of its version.
        reader: The index that is searched.

    Raises:
        UsageError: The folder is not an export.
        DataError: Its weights differ from the index's, or it cannot be loaded.
    """

    def __init__(self, export: str | os.PathLike[str], reader: IndexReader):
        about = read_export(export)
        reader.require(ModelId(about.model, about.version, about.weights_sha256))
        self._served = ServedExport(about)

    def warm_up(self) -> None:
        """Run the network once, as the first run takes longest."""
        self._served([b""])

    def embed(self, encoded: bytes) -> Query:
        """Embed an image; see `QueryEmbedder`."""
        found = self._served([encoded])
        (reason,) = reasons([Content(encoded)], found)
        if reason:
            raise UnusableImageError(reason)
        return Query(found.embedding[0], found.boxes[0].reshape(-1, 4))
