"""Images laid out anew: does attention follow the object to where it never was?"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from deml_tf.data.example import Box, Example
from deml_tf.errors import UsageError

LAYOUTS = ("as_is", "shifted", "cluttered", "several", "empty")
SHIFT = 0.25  # of a side
SIDES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
PATCHES, PATCH = 4, 0.25  # their number, and their side as a share of the image's
CORNERS = ((0.0, 0.0), (0.0, 0.75), (0.75, 0.0), (0.75, 0.75))
CELLS = 4  # per side of what is left of an image in `empty`


class Layout:
    """A way to lay out the images of a list, the same for the same seed.

    - `shifted`: the image moves by a quarter of its side to one of the four sides; what
      it uncovers has the mean colour of its border. The side is chosen so that the
      middle of the listed box stays in the image.
    - `cluttered`: the middles of four images of other classes are pasted in, each a
      quarter of the side: outside the listed box, or into the corners if there is none.
    - `several`: the image and one of another class, both whole, in the two halves of a
      canvas of the image's size.
    - `empty`: the image's colours without an object: 4 x 4 cells of it in another
      order, blurred into one another.

    Args:
        name: One of these, not `as_is`.
        examples: The images.
        read: Function from an example to its image, uint8 `(h, w, 3)`.
        seed: Seed of all choices, by default 0; image n has random numbers of its own.

    Raises:
        UsageError: It is `cluttered` or `several`, and all images are of one class.

    Attributes:
        examples: The images with their boxes in the new layout; no boxes in `empty`.
    """

    def __init__(
        self,
        name: str,
        examples: Sequence[Example],
        read: Callable[[Example], np.ndarray],
        seed: int = 0,
    ):
        self.name, self.given, self.read, self.seed = name, examples, read, seed
        labels = [example.label for example in examples]
        names, self.labels = np.unique(np.array(labels, object), return_inverse=True)
        if name in ("cluttered", "several") and len(names) < 2:
            raise UsageError(
                f"layout={name} needs images of two classes at least: give another "
                "layout, or more classes."
            )
        self.examples = [replace(e, box=self._box(n)) for n, e in enumerate(examples)]

    def __call__(self, image: np.ndarray, number: int) -> np.ndarray:
        """Lay out an image.

        Args:
            image: uint8 `(h, w, 3)`.
            number: Its place in the list.

        Returns:
            uint8 `(h, w, 3)`, of the same size.
        """
        random, box = self._random(number), self.given[number].box
        if self.name == "shifted":
            return shift(image, SIDES[draw_side(box, random)])
        if self.name == "several":
            on_right = bool(random.integers(2))
            (other,) = self._others(number, 1, random)
            return put_side_by_side(image, other, on_right)
        if self.name == "cluttered":
            if self.given[number].crop is not None:
                box = None  # the image is the crop: patches only fit into its corners
            places = draw_places(box, random)
            others = self._others(number, PATCHES, random)
            return clutter(image, others, places, box)
        return empty(image, random)

    def _box(self, number: int) -> Box | None:
        """Return the listed box of an image in its new layout."""
        random, box = self._random(number), self.given[number].box
        if box is None or self.name == "empty":
            return None
        if self.name == "shifted":
            return shift_box(box, SIDES[draw_side(box, random)])
        if self.name == "several":
            return halve_box(box, bool(random.integers(2)))
        return box

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(number)])

    def _others(
        self, number: int, count: int, random: np.random.Generator
    ) -> list[np.ndarray]:
        """Read images of other classes."""
        others = np.flatnonzero(self.labels != self.labels[number])
        return [self.read(self.given[n]) for n in random.choice(others, count)]


def draw_side(box: Box | None, random: np.random.Generator) -> str:
    """Draw a side to which an image moves, such that a box's middle stays in it."""
    if box is None:
        return str(random.choice([*SIDES]))
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    stays = [
        name
        for name, move in SIDES.items()
        if np.all(np.abs(middle + SHIFT * np.array(move) - 0.5) <= 0.5)
    ]
    return str(random.choice(stays))


def shift(image: np.ndarray, move: tuple[int, int]) -> np.ndarray:
    """Move an image by a quarter of its side.

    Args:
        image: uint8 `(h, w, 3)`.
        move: Quarters down and to the right, -1, 0 or 1 each.
    """
    h, w = image.shape[:2]
    y, x = (round(SHIFT * side) * step for side, step in zip((h, w), move, strict=True))
    moved = np.full_like(image, _border_colour(image))
    moved[max(y, 0) : h + min(y, 0), max(x, 0) : w + min(x, 0)] = image[
        max(-y, 0) : h + min(-y, 0), max(-x, 0) : w + min(-x, 0)
    ]
    return moved


def shift_box(box: Box, move: tuple[int, int]) -> Box:
    """Move a box as `shift` moves its image, and clip it."""
    moved = np.array(box) + SHIFT * np.array([*move, *move])
    return _box_of(np.clip(moved, 0, 1))


def put_side_by_side(
    image: np.ndarray, other: np.ndarray, on_right: bool
) -> np.ndarray:
    """Put two whole images into the halves of a canvas of the first one's size.

    Args:
        image: uint8 `(h, w, 3)`, shrunk to half its sides.
        other: uint8 `(h', w', 3)`, as large as fits into its half.
        on_right: Whether the first one is in the right half.
    """
    h, w = image.shape[:2]
    canvas = np.full_like(image, _border_colour(image))
    half = w // 2
    for each, right in ((image, on_right), (other, not on_right)):
        scale = min(w / 2 / each.shape[1], h / each.shape[0])
        size = [max(1, int(scale * side)) for side in each.shape[:2]]
        small = _resized(each, *size)
        y = (h - small.shape[0]) // 2
        x = (w - half if right else 0) + (half - small.shape[1]) // 2
        canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
    return canvas


def halve_box(box: Box, on_right: bool) -> Box:
    """Shrink a box as `put_side_by_side` shrinks the first image."""
    low = np.array([0.25, 0.5 * on_right] * 2)
    return _box_of(low + 0.5 * np.array(box))


def draw_places(
    box: Box | None, random: np.random.Generator
) -> Sequence[tuple[float, float]]:
    """Draw where patches go: without overlap, beside a box as far as there is room.

    Args:
        box: Box of the object; None for the four corners.
        random: Source of the choice.

    Returns:
        Upper left corners (y, x), as shares of the image.
    """
    if box is None:
        return CORNERS
    axis = np.linspace(0, 1 - PATCH, 7)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    low, high = np.maximum(grid, box[:2]), np.minimum(grid + PATCH, box[2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    places: list[tuple[float, float]] = []
    for y, x in grid[np.lexsort((random.random(len(grid)), shared))]:
        if all(max(abs(y - a), abs(x - b)) >= PATCH for a, b in places):
            places.append((float(y), float(x)))
    return places[:PATCHES]


def clutter(
    image: np.ndarray,
    others: Sequence[np.ndarray],
    places: Sequence[tuple[float, float]],
    box: Box | None,
) -> np.ndarray:
    """Paste the middles of other images into an image.

    Args:
        image: uint8 `(h, w, 3)`.
        others: uint8 `(h', w', 3)` each.
        places: Places of the patches, as `draw_places` returns them.
        box: The part that stays as it is; None if there is none.
    """
    h, w = image.shape[:2]
    found = image.copy()
    for other, (y, x) in zip(others, places, strict=True):
        middle = [slice(n // 4, max(n // 4 + 1, 3 * n // 4)) for n in other.shape[:2]]
        top, left = round(y * h), round(x * w)
        place = found[top : top + round(PATCH * h), left : left + round(PATCH * w)]
        if place.size:
            place[:] = _resized(other[tuple(middle)], *place.shape[:2])
    if box is not None:
        top, left = int(box[0] * h), int(box[1] * w)
        inside = np.s_[top : int(np.ceil(box[2] * h)), left : int(np.ceil(box[3] * w))]
        found[inside] = image[inside]
    return found


def empty(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Reduce an image to its coarse colours, in another order and blurred.

    Args:
        image: uint8 `(h, w, 3)`.
        random: Source of the order.
    """
    small = np.asarray(
        Image.fromarray(image).resize((CELLS, CELLS), Image.Resampling.BOX)
    )
    mixed = random.permutation(small.reshape(-1, 3)).reshape(small.shape)
    blurred = Image.fromarray(mixed).resize(
        image.shape[1::-1], Image.Resampling.BICUBIC
    )
    return np.asarray(blurred)


def _border_colour(image: np.ndarray) -> np.ndarray:
    edges = [image[0], image[-1], image[:, 0], image[:, -1]]
    return np.rint(np.concatenate(edges).mean(axis=0)).astype(np.uint8)


def _resized(image: np.ndarray, h: int, w: int) -> np.ndarray:
    """Resize an image; if it shrinks, each pixel is a mean."""
    whole = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(whole.resize((w, h), Image.Resampling.BILINEAR))


def _box_of(values: np.ndarray) -> Box:
    top, left, bottom, right = values.tolist()
    return top, left, bottom, right
