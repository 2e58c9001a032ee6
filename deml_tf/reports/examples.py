"""What a report shows of unseen classes: retrievals and where the model looked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.data.images import read_example
from deml_tf.reports.drawing import (
    Mark,
    contact_sheet,
    crop,
    draw_boxes,
    overlay_saliency,
    thumbnail,
)
from deml_tf.retrieval.neighbours import nearest

QUERIES = 10
NEIGHBOURS = 8
SIDE = 224


@dataclass(frozen=True)
class Neighbour:
    """One retrieved image: `image` `(h, w, 3)` uint8, its cosine and whether it hits.

    A hit has the query's class.
    """

    image: np.ndarray
    label: str
    similarity: float
    hit: bool


@dataclass(frozen=True)
class Retrieval:
    """A query image `(h, w, 3)` uint8 and its neighbours, nearest first."""

    image: np.ndarray
    label: str
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class AttentionExample:
    """What every scale saw of an image, and where its region rule looked.

    Attributes:
        image: `(h, w, 3)` uint8, the original image.
        label: Its class.
        boxes: `(i, 4)`, ymin, xmin, ymax, xmax relative to `image`: what scale i saw.
        saliency: `(i, gh, gw)`, the region rule's map over what scale i saw.
        crops: `(i, s, s, 3)` uint8, the pixels that scale i saw; None cuts out `boxes`.
        truth: `(4,)`, the listed box, or None.
    """

    image: np.ndarray
    label: str
    boxes: np.ndarray
    saliency: np.ndarray
    crops: np.ndarray | None = None
    truth: np.ndarray | None = None

    def views(self, side: int) -> list[np.ndarray]:
        """Return what each scale saw, `(side, side, 3)` uint8 or smaller."""
        if self.crops is None:
            return [crop(self.image, box, side) for box in self.boxes]
        return [thumbnail(view, side) for view in self.crops]


def retrievals(
    embeddings: np.ndarray,
    examples: Sequence[Example],
    *,
    seed: int = 0,
    gallery_embeddings: np.ndarray | None = None,
    gallery: Sequence[Example] = (),
) -> tuple[Retrieval, ...]:
    """Choose random queries and find their nearest neighbours.

    Args:
        embeddings: `(n, d)`.
        examples: The n images.
        seed: Seed of the choice of queries; default 0.
        gallery_embeddings: `(m, d)` of the images that are searched; None if the
            queries themselves are searched.
        gallery: The m images that are searched.

    Returns:
        A `Retrieval` for each query, at most one of each class.
    """
    numbers, names = class_ids([*examples, *gallery])
    labels, found = numbers[: len(examples)], numbers[len(examples) :]
    queries = _one_a_class(labels, QUERIES, seed)
    count = min(NEIGHBOURS, len(gallery) or len(examples) - 1)
    indices, similarities = nearest(
        embeddings,
        count,
        labels=labels,
        gallery_embeddings=gallery_embeddings,
        gallery_labels=found if len(gallery) else None,
        queries=queries,
    )
    shown, shown_labels = (gallery, found) if len(gallery) else (examples, labels)
    return tuple(
        Retrieval(
            image=_read(examples[q]),
            label=names[labels[q]],
            neighbours=tuple(
                Neighbour(
                    image=_read(shown[k]),
                    label=names[shown_labels[k]],
                    similarity=float(s),
                    hit=bool(shown_labels[k] == labels[q]),
                )
                for k, s in zip(row, values, strict=True)
            ),
        )
        for q, row, values in zip(queries, indices, similarities, strict=True)
    )


def attention_examples(
    outputs: Mapping[str, np.ndarray], examples: Sequence[Example], *, seed: int = 0
) -> tuple[AttentionExample, ...]:
    """Choose random images, with the box, crop and saliency map of every scale.

    Args:
        outputs: Dict of arrays from `embed` of an `explainer`.
        examples: The images, in the same order.
        seed: Seed of the choice of images; default 0.

    Returns:
        An `AttentionExample` for each image, at most one of each class.
    """
    labels, names = class_ids(examples)
    found = []
    for n in _one_a_class(labels, QUERIES, seed):
        image = _read(examples[n])
        views = outputs.get("views", outputs["boxes"])[n]
        found.append(
            AttentionExample(
                image=image,
                label=names[labels[n]],
                boxes=outputs["boxes"][n],
                saliency=outputs["saliency"][n],
                crops=np.stack([crop(image, view, SIDE) for view in views]),
                truth=examples[n].box,
            )
        )
    return tuple(found)


def write_images(
    folder: Path,
    attention: Sequence[AttentionExample],
    found: Sequence[Retrieval],
    step: int,
) -> None:
    """Write boxes, saliency, crops and retrievals as TensorBoard images.

    Args:
        folder: Folder of the TensorBoard logs.
        attention: What `attention_examples` returns.
        found: What `retrievals` returns.
        step: Training step that the images are shown at.
    """
    with tf.summary.create_file_writer(str(folder)).as_default(step=step):
        for n, example in enumerate(attention):
            boxes = draw_boxes(example.image, example.boxes, example.truth)
            views = example.views(SIDE)
            maps = list(map(overlay_saliency, views, example.saliency))
            tf.summary.image(f"boxes/{n}", boxes[None])
            tf.summary.image(f"crops/{n}", np.stack(views), max_outputs=len(maps))
            tf.summary.image(f"saliency/{n}", np.stack(maps), max_outputs=len(maps))
        if found:
            tf.summary.image("retrieval", contact_sheet(_rows(found))[None])


def _rows(found: Sequence[Retrieval]) -> list[list[tuple[np.ndarray, Mark]]]:
    """Arrange retrievals as the rows of a contact sheet."""
    rows: list[list[tuple[np.ndarray, Mark]]] = []
    for query in found:
        row: list[tuple[np.ndarray, Mark]] = [(query.image, "query")]
        for neighbour in query.neighbours:
            row.append((neighbour.image, "hit" if neighbour.hit else "miss"))
        rows.append(row)
    return rows


def _one_a_class(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose `count` random images of different classes."""
    order = np.random.default_rng(seed).permutation(len(labels))
    _, first = np.unique(labels[order], return_index=True)
    return order[np.sort(first)[:count]]


def _read(example: Example) -> np.ndarray:
    return thumbnail(read_example(example), SIDE * 2)
