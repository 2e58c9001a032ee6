"""What is searched for, and who makes it of an image."""

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
    """Whatever embeds images as those of an index were."""

    def embed(self, encoded: bytes) -> Query:
        """Embed an image.

        Args:
            encoded: Its file; any bytes at all.

        Raises:
            UnusableImageError: It is no image, or none that the embedder takes.
            DataError: The embedder does not work, for any image.
        """
        ...
