"""Requests to a server, over gRPC or REST, and the outputs that come back."""

import re
from typing import Any, NamedTuple, Protocol

import numpy as np

from deml_tf.client.failures import OtherVersionError, WrongAnswerError

OUTPUTS = ("embedding", "valid", "boxes")
MOST_NUMBERS = 2**14
"""Numbers in the answer to one image, at most; an embedding has 512 by default."""

_MOST_VERSION = 2**63


class Outputs(NamedTuple):
    """A server's answer to b images.

    Attributes:
        embedding: float32 `(b, d)`, zeros where `valid` is false.
        valid: boolean `(b,)`.
        boxes: float32 `(b, i, 4)`, zeros where `valid` is false.
        sound: boolean `(b,)`: false where `valid` is claimed, but the embedding is not
            of length one or a box is not within the image.
    """

    embedding: np.ndarray
    valid: np.ndarray
    boxes: np.ndarray
    sound: np.ndarray


class Description(NamedTuple):
    """What a server says of a model.

    Attributes:
        version: The version's number; None if it does not say.
        signatures: The names of each signature's inputs.
    """

    version: int | None
    signatures: dict[str, set[str]]


class Transport(Protocol):
    """Sends requests to a server; its methods raise `ServerError`."""

    def predict(self, version: int, images: list[bytes], timeout: float) -> Outputs:
        """Have one version embed encoded images; `timeout` in seconds."""
        ...

    def describe(self, version: int | None, timeout: float) -> Description:
        """Ask for a version, by default the target's, and its signatures."""
        ...

    def close(self) -> None:
        """Close the connections; requests under way fail."""
        ...


def most_bytes(images: int) -> int:
    """Return the number of bytes above which an answer is refused.

    Args:
        images: Number of images that were asked for; 0 for a question about the model.
    """
    return 2**20 + images * MOST_NUMBERS * 32  # 32: a number as text, with blanks


def check_version(asked: int | None, answered: Any) -> int | None:
    """Check that an answer comes from the version that was asked.

    Args:
        asked: That version's number; None if any would do.
        answered: A number, or its digits; None if the server does not say.

    Returns:
        The version that answered, or the one that was asked if none is given.

    Raises:
        ServerError: It is another one, or not the number of a version.
    """
    if answered is None:
        return asked
    digits = re.fullmatch(r"\d{1,19}", str(answered), re.ASCII)
    if not digits or int(digits[0]) >= _MOST_VERSION:
        raise WrongAnswerError("a version came that is no number")
    number = int(digits[0])
    if asked is not None and number != asked:
        raise OtherVersionError(asked, number)
    return number


def checked(arrays: dict[str, np.ndarray], count: int) -> Outputs:
    """Check that an answer fits its request.

    Args:
        arrays: Arrays by output; floats, and booleans for `valid`.
        count: Images that were asked for.

    Raises:
        ServerError: An output is missing, is of another type, or does not have one row
            of the right shape for each image.
    """
    found = [arrays.get(name, np.zeros(0)) for name in OUTPUTS]
    if any(array.shape[:1] != (count,) for array in found):
        rows = ", ".join(
            f"{name} {len(array) if array.ndim else 'none'}"
            for name, array in zip(OUTPUTS, found, strict=True)
        )
        raise WrongAnswerError(f"{count} images were sent, rows came: {rows}")
    embedding, valid, boxes = found
    kinds = [array.dtype.kind for array in found]
    dimensions = [array.ndim for array in found]
    fits = kinds == ["f", "b", "f"] and dimensions == [2, 1, 3]
    if not (fits and boxes.shape[2] == 4 and embedding.size and boxes.size):
        came = ", ".join(
            f"{name} {array.dtype}{list(array.shape)}"
            for name, array in zip(OUTPUTS, found, strict=True)
        )
        raise WrongAnswerError(f"outputs of other shapes or types came: {came}")
    with np.errstate(over="ignore", invalid="ignore"):
        embedding, boxes = embedding.astype(np.float32), boxes.astype(np.float32)
        length = np.linalg.norm(embedding.astype(np.float64), axis=1)
        # Rounding changes both a little; NaN is in no range.
        within = ((boxes >= -0.01) & (boxes <= 1.01)).all((1, 2))
    sound = (abs(length - 1) < 0.01) & within
    good = valid & sound
    embedding[~good], boxes[~good] = 0, 0
    return Outputs(embedding, valid, boxes, sound | ~valid)
