"""Views of an embedding: files for TensorBoard's projector, and a map on a page."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.manifold import TSNE

from deml_tf.cli.printing import printable
from deml_tf.cli.progress import track
from deml_tf.data.example import Example
from deml_tf.data.images import read_example
from deml_tf.reports.charts import INK, in_default_style, new_axes, short, svg
from deml_tf.reports.page import write_page
from deml_tf.runs.atomic import write_atomically

Lay = Callable[[np.ndarray, int], np.ndarray]
MOST = 5000  # images; TensorBoard and t-SNE are slow beyond
_SPRITE = 8192  # largest side of a sprite in pixels, as TensorBoard reads it
_TILE = 64  # largest side of an image in it
_COLOURED = 12  # classes with the most images
_CONFIG = """\
embeddings {{
  tensor_name: "embedding"
  tensor_path: "embeddings.tsv"
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: ".sprite.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def write_projector(
    folder: Path,
    embeddings: np.ndarray,
    examples: Sequence[Example],
    seed: int = 0,
    layout: Lay | None = None,
) -> int:
    """Write what TensorBoard's projector reads, and a page with a map.

    `tensorboard --logdir=FOLDER` shows the embeddings in three dimensions, with their
    images; `map.html` shows them in two (t-SNE of cosine distances; van der Maaten and
    Hinton, JMLR 2008), the largest classes in colours.

    Args:
        folder: Where to write; it is made if missing.
        embeddings: (n, d), of length one.
        examples: n images.
        seed: Seed of the choice of 5,000 images, if there are more, and of t-SNE.
        layout: Function from an image and its index among the n to what was embedded;
            None, the default, if that was the image itself.

    Returns:
        The number of images that were taken.
    """
    chosen = np.arange(len(examples))
    if len(chosen) > MOST:
        lots = np.random.default_rng(seed).permutation(len(chosen))
        chosen = np.sort(lots[:MOST])
    side, sprite = make_sprite(examples, chosen, layout)
    embeddings, examples = embeddings[chosen], [examples[i] for i in chosen.tolist()]
    folder.mkdir(parents=True, exist_ok=True)
    rows = ("\t".join(f"{x:.6g}" for x in row) for row in embeddings)
    write_atomically(folder / "embeddings.tsv", "\n".join(rows).encode())
    lines = ["label\tpath", *(f"{_cell(e.label)}\t{_cell(e.path)}" for e in examples)]
    write_atomically(folder / "metadata.tsv", "\n".join(lines).encode())
    config = _CONFIG.format(side=side)
    write_atomically(folder / "projector_config.pbtxt", config.encode())
    picture = io.BytesIO()
    sprite.save(picture, "PNG")
    # Hidden, so that it does not count as an image if the folder is among images.
    write_atomically(folder / ".sprite.png", picture.getvalue())
    labels = [e.label for e in examples]
    write_page(
        folder / "map.html",
        "map",
        title=f"Map of {len(examples):,} embeddings",
        chart=_map(flattened(embeddings, seed), labels),
    )
    return len(examples)


def flattened(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Reduce embeddings to two dimensions by t-SNE of their cosine distances.

    Args:
        embeddings: (n, d), of length one.
        seed: Seed of t-SNE; default 0.

    Returns:
        (n, 2); zeros for one image.
    """
    count = len(embeddings)
    if count < 3:
        return np.eye(count, 2)
    perplexity = min(30.0, (count - 1) / 3)
    method = TSNE(
        metric="cosine", init="random", perplexity=perplexity, random_state=seed
    )
    return method.fit_transform(embeddings)


def make_sprite(
    examples: Sequence[Example], chosen: np.ndarray, layout: Lay | None = None
) -> tuple[int, Image.Image]:
    """Draw images into one, row by row, each made square.

    Args:
        examples: n images.
        chosen: Indices of those that are drawn.
        layout: As in `write_projector`.

    Returns:
        The side of each in pixels, and the image.
    """
    across = int(np.ceil(len(chosen) ** 0.5))
    side = min(_TILE, _SPRITE // across)
    canvas = Image.new("RGB", (across * side, across * side), "white")
    for i, place in enumerate(track(chosen.tolist(), "projector", len(chosen))):
        image = read_example(examples[place])
        image = layout(image, place) if layout else image
        square = Image.fromarray(image).resize((side, side))
        canvas.paste(square, (i % across * side, i // across * side))
    return side, canvas


@in_default_style
def _map(places: np.ndarray, labels: Sequence[str]):
    """Draw the points, the classes with the most images in colours."""
    names, numbers, counts = np.unique(
        [*labels], return_inverse=True, return_counts=True
    )
    shown = np.argsort(-counts, kind="stable")[:_COLOURED]
    figure, axes = new_axes(9.0, 7.0)
    axes.set_axis_off()
    rest = ~np.isin(numbers, shown)
    axes.scatter(*places[rest].T, s=6, color=INK, alpha=0.15, lw=0)
    colours = [f"C{n}" for n in range(10)] + ["#aec7e8", "#ffbb78"]
    for colour, number in zip(colours, shown, strict=False):
        taken = numbers == number
        axes.scatter(*places[taken].T, s=16, color=colour, lw=0, label="class")
    legend = axes.legend(
        fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
    )
    # Not as labels: those that begin with _ would be left out.
    for text, number in zip(legend.get_texts(), shown, strict=True):
        text.set(text=short(_cell(str(names[number]))), color=INK)
    return svg(figure, "Map of the embeddings")


def _cell(text: str) -> str:
    """Return a printable text without what separates cells and lines."""
    return printable(re.sub(r"\s", " ", text))
