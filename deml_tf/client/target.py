"""Which model is asked, and what it answers."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np

from deml_tf.client.failures import ServerError

INPUT = "image_bytes"
OUTPUTS = ("embedding", "valid", "boxes")


@dataclasses.dataclass(frozen=True)
class Target:
    """A model on a server.

    Attributes:
        server: `HOST:PORT`.
        model: Its name there.
        protocol: `grpc` or `rest`.
        version: One version; None for the newest that is loaded, or for the label's.
        label: A label of the server's configuration, such as `stable`.
        signature: One that takes `image_bytes`: `serving_default` or `explain`.
    """

    server: str
    model: str
    protocol: str = "grpc"
    version: int | None = None
    label: str | None = None
    signature: str = "serving_default"


class Outputs(NamedTuple):
    """What a server answers to b images.

    Attributes:
        embedding: float32 (b, d).
        valid: boolean (b,).
        boxes: float32 (b, i, 4).
    """

    embedding: np.ndarray
    valid: np.ndarray
    boxes: np.ndarray


class Requests(Protocol):
    """A way to a server; its methods raise `ServerError`."""

    def predict(self, images: list[bytes], timeout: float) -> Outputs:
        """Embeds encoded images; `timeout` in seconds."""
        ...

    def signatures(self, timeout: float) -> dict[str, set[str]]:
        """The names of each signature's inputs."""
        ...

    def close(self) -> None:
        """Lets go of the connections."""
        ...


def checked(arrays: dict[str, Any], count: int) -> Outputs:
    """Holds an answer to its question.

    Args:
        arrays: By output.
        count: Images that were asked for.

    Raises:
        ServerError: An output is missing or has not one row an image.
    """
    found = [np.asarray(arrays.get(name, ())) for name in OUTPUTS]
    if any(len(array) != count for array in found):
        rows = ", ".join(f"{n} {len(a)}" for n, a in zip(OUTPUTS, found, strict=True))
        raise ServerError("INTERNAL", f"{count} images were sent, rows came: {rows}")
    embedding, valid, boxes = found
    return Outputs(
        embedding.astype(np.float32, copy=False),
        valid.astype(bool, copy=False),
        boxes.astype(np.float32, copy=False),
    )
