"""The answers to images: embedding and boxes, or the reason why there are none."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one image.

    Attributes:
        embedding: float32 `(d,)` of length one; None if the server was not asked, or
            refused the image.
        boxes: float32 `(i, 4)`: ymin, xmin, ymax, xmax of what each scale saw, relative
            to the upright image; None in the same cases.
        reason: Empty if the image is valid, else why it is not.
    """

    embedding: np.ndarray | None = None
    boxes: np.ndarray | None = None
    reason: str = ""

    @property
    def valid(self) -> bool:
        """Whether the image has a valid embedding."""
        return not self.reason


class Embeddings(NamedTuple):
    """The answers to n images, in their order.

    Attributes:
        embedding: float32 `(n, d)`, zeros where an image is not valid.
        valid: boolean `(n,)`.
        boxes: float32 `(n, i, 4)`, zeros where an image is not valid.
        reasons: n sentences, empty where an image is valid.
    """

    embedding: np.ndarray
    valid: np.ndarray
    boxes: np.ndarray
    reasons: list[str]


def stack(answers: Sequence[Answer]) -> Embeddings:
    """Join answers; if none came from the server, d and i are 0.

    Args:
        answers: In the order of the images.
    """
    asked = next((a for a in answers if a.embedding is not None), None)
    no_embedding, no_boxes = np.zeros(0, np.float32), np.zeros((0, 4), np.float32)
    if asked is not None and asked.embedding is not None and asked.boxes is not None:
        no_embedding, no_boxes = np.zeros_like(asked.embedding), 0 * asked.boxes
    embeddings = [no_embedding if a.embedding is None else a.embedding for a in answers]
    boxes = [no_boxes if a.boxes is None else a.boxes for a in answers]
    return Embeddings(
        np.array(embeddings, np.float32).reshape(len(answers), *no_embedding.shape),
        np.array([answer.valid for answer in answers], bool),
        np.array(boxes, np.float32).reshape(len(answers), *no_boxes.shape),
        [answer.reason for answer in answers],
    )
