"""A way to a server, over gRPC or REST, and the outputs that come back."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from deml_tf.client.failures import ServerError

OUTPUTS = ("embedding", "valid", "boxes")


class Outputs(NamedTuple):
    """A server's answer to b images.

    Attributes:
        embedding: float32 `(b, d)`.
        valid: boolean `(b,)`.
        boxes: float32 `(b, i, 4)`.
    """

    embedding: np.ndarray
    valid: np.ndarray
    boxes: np.ndarray


class Transport(Protocol):
    """A way to a server; its methods raise `ServerError`."""

    def predict(self, images: list[bytes], timeout: float) -> Outputs:
        """Embed encoded images; `timeout` in seconds."""
        ...

    def signatures(self, timeout: float) -> dict[str, set[str]]:
        """Return the names of each signature's inputs."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def checked(arrays: dict[str, Any], count: int) -> Outputs:
    """Hold an answer to its question.

    Args:
        arrays: By output.
        count: Images that were asked for.

    Raises:
        ServerError: An output is missing or has not one row for each image.
    """
    found = [np.asarray(arrays.get(name, ())) for name in OUTPUTS]
    if any(array.shape[:1] != (count,) for array in found):
        rows = ", ".join(
            f"{name} {len(array) if array.ndim else 'none'}"
            for name, array in zip(OUTPUTS, found, strict=True)
        )
        raise ServerError("INTERNAL", f"{count} images were sent, rows came: {rows}")
    embedding, valid, boxes = found
    return Outputs(
        embedding.astype(np.float32, copy=False),
        valid.astype(bool, copy=False),
        boxes.astype(np.float32, copy=False),
    )
