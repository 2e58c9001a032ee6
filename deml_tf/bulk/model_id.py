"""Identifies the export that embeddings come from."""

from typing import NamedTuple

from deml_tf.errors import DataError


class ModelId(NamedTuple):
    """One version of an exported model.

    Embeddings from different weights cannot be compared, whatever the names say.

    Attributes:
        name: The model's name.
        version: A whole number.
        weights_sha256: Hash of all its weights, as in the export's deml.json.
    """

    name: str
    version: int
    weights_sha256: str

    def __str__(self) -> str:
        """Return the name, the version and the beginning of the hash."""
        return f"{self.name} {self.version} (weights {self.weights_sha256[:12]})"


def require_same(what: str, found: ModelId, index: str, expected: ModelId) -> None:
    """Refuse embeddings whose weights differ from an index's.

    Args:
        what: Names the embeddings in the message.
        found: Their model.
        index: Names the index in the message.
        expected: Its model.

    Raises:
        DataError: The weights differ.
    """
    if found.weights_sha256 != expected.weights_sha256:
        raise DataError(
            f"{what} come from {found}, and {index} holds embeddings of {expected}, "
            f"which cannot be compared: embed with {expected.name} "
            f"{expected.version}, or build an index of {found.name} {found.version}."
        )
