"""The query of a search, and what makes one from an image."""

from typing import NamedTuple, Protocol

import numpy as np

from deml_tf.errors import DataError


class UnusableImageError(DataError):
    """An image cannot be embedded; the message is the reason alone."""


class Query(NamedTuple):
    """An embedded image.

    Attributes:
        embedding: float32 `(d,)`, of length one.
        boxes: float32 `(i, 4)`: ymin, xmin, ymax, xmax of what each scale saw, relative
            to the upright image.
    """

    embedding: np.ndarray
    boxes: np.ndarray


class QueryEmbedder(Protocol):
    """Anything that embeds images as those of an index were embedded."""

    def embed(self, encoded: bytes) -> Query:
        """Embed an image.

        Args:
            encoded: Its file; any bytes are allowed.

        Raises:
            UnusableImageError: It is not an image, or the embedder does not accept it.
            DataError: The embedder does not work, for any image.
        """
        ...
