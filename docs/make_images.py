"""Draw the images of the README from a finished run.

    python docs/make_images.py runs/plumage

writes docs/images/attention.png (what each scale looks at), docs/images/extremes.png
(the birds that the last scale saw best and worst) and docs/images/retrievals.png
(queries of unseen classes, and what is found).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from deml_tf.data.example import WHOLE, Example
from deml_tf.data.images import read_example
from deml_tf.data.selection import read_split
from deml_tf.models.embedder import explainer, geometry_of
from deml_tf.models.load import load_embedder
from deml_tf.reports.drawing import contact_sheet, draw_boxes, overlay_saliency
from deml_tf.reports.examples import AttentionExample, attention_examples, retrievals
from deml_tf.retrieval.attention_scores import intersection_over_union
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.runs.finished import open_finished

FOLDER = Path(__file__).parent / "images"
SIDE, SHOWN, EXTREMES = 128, 4, 7  # pixels of a tile; examples drawn


def attention_sheet(examples: list[AttentionExample]) -> np.ndarray:
    """Lay out each example as a column: its boxes, then the map of every scale."""
    columns = []
    for example in examples:
        boxed = Image.fromarray(
            draw_boxes(example.image, example.boxes, example.truth)
        ).resize((SIDE, SIDE))
        views = zip(example.views(SIDE), example.saliency, strict=True)
        maps = [overlay_saliency(view, saliency) for view, saliency in views]
        tiles = [np.asarray(boxed), *maps]
        columns.append(np.concatenate([_framed(tile) for tile in tiles]))
    return np.concatenate(columns, axis=1)


def extremes_sheet(boxes: np.ndarray, examples: Sequence[Example]) -> np.ndarray:
    """Draw the boxes of the best and, below, the worst IoU, one image of a class."""
    listed = np.array([example.box or WHOLE for example in examples])
    found = intersection_over_union(boxes[:, -1], listed)
    rows = []
    for order in (np.argsort(found)[::-1], np.argsort(found)):
        first = {examples[n].label: n for n in order[::-1]}
        chosen = sorted(first.values(), key=[*order].index)[:EXTREMES]
        tiles = [
            draw_boxes(read_example(examples[n]), boxes[n], examples[n].box)
            for n in chosen
        ]
        rows.append(np.concatenate([_framed(tile) for tile in tiles], axis=1))
    return np.concatenate(rows)


def _framed(tile: np.ndarray) -> np.ndarray:
    """Put a white margin around a tile."""
    square = np.asarray(Image.fromarray(tile).resize((SIDE, SIDE)))
    return np.pad(square, ((3, 3), (3, 3), (0, 0)), constant_values=255)


def main(path: str) -> None:
    """Embed the test images of a run and draw some of them."""
    run, configs = open_finished(path)
    split = read_split(configs.data, configs.train.seed)
    embedder = load_embedder(run.embedder_path)
    geometry = geometry_of(embedder)
    outputs = embed(
        inference(explainer(embedder))(),
        split.test,
        resize_size=geometry.resize_size,
        fit=geometry.fit,
        progress="embedding",
    )
    attention = attention_examples(outputs, split.test)
    found = retrievals(outputs["embedding"], split.test)
    rows = []
    for query in found[:SHOWN]:
        marks = ["hit" if neighbour.hit else "miss" for neighbour in query.neighbours]
        images = [neighbour.image for neighbour in query.neighbours]
        rows.append([(query.image, "query"), *zip(images, marks, strict=True)])
    FOLDER.mkdir(exist_ok=True)
    sheets = {
        "attention.png": attention_sheet(list(attention[: 2 * SHOWN - 1])),
        "extremes.png": extremes_sheet(outputs["boxes"], split.test),
        "retrievals.png": contact_sheet(rows, size=88),
    }
    for name, pixels in sheets.items():
        Image.fromarray(pixels).quantize(128).save(FOLDER / name, optimize=True)
        print(FOLDER / name)


if __name__ == "__main__":
    main(sys.argv[1])
