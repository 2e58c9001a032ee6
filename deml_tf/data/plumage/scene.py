"""Paint the scenes of Plumage: backgrounds, perches, and what stands in front.

Nothing here depends on the species: every shape and colour comes from the random
numbers of the image, also the colours of birds that appear in the background.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from deml_tf.data.plumage.outlines import Points, strew, thick
from deml_tf.data.plumage.species import PALETTE


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of scenery.

    Attributes:
        skies: Pairs of colours, top and bottom of the light behind everything.
        shapes: Kinds of shapes that fill it.
        colours: Colours of the shapes.
        density: Factor on their number.
        low: Share of the frame, from the top, that they leave free.
    """

    skies: tuple[tuple[str, str], ...]
    shapes: tuple[str, ...]
    colours: tuple[str, ...]
    density: float = 1.0
    low: float = 0.0


PLACES = (
    Place(  # foliage
        (("#3f5a34", "#20331f"), ("#9db66a", "#3d5f2d"), ("#c9d9a0", "#55783c")),
        ("leaf", "leaf", "blob"),
        ("#2f5426", "#4d7a32", "#7ea544", "#a9bf62", "#24401f", "#5d6b2f"),
    ),
    Place(  # open sky
        (("#4f8fd0", "#cfe3f0"), ("#8a98a8", "#d9dcdc"), ("#f0a860", "#6a4f86")),
        ("cloud",),
        ("#ffffff", "#dfe6ee", "#b8c4d2", "#f3d9c4"),
        0.35,
    ),
    Place(  # reeds
        (("#d8c48a", "#7d7a3e"), ("#a9c0b8", "#6d7444"), ("#e9dcb4", "#a5823f")),
        ("blade",),
        ("#b29a4a", "#8d8a3c", "#d3bd75", "#5f6a30", "#9c7236", "#73863f"),
    ),
    Place(  # water
        (("#6fa3b8", "#1f4f6c"), ("#a8b8ba", "#54707a"), ("#d79a72", "#3d4f78")),
        ("ripple", "ripple", "ripple", "boulder"),
        ("#8fc0cf", "#3d7690", "#c5dde0", "#2b5468", "#577d7c", "#e5c3a2"),
    ),
    Place(  # rocks
        (("#b9c3c9", "#77736c"), ("#8f8378", "#5b5148"), ("#d9c9b2", "#8a705a")),
        ("boulder", "boulder", "blob"),
        ("#8d8a84", "#6c675f", "#a99d8c", "#55504b", "#b9ae9f", "#7f6a55"),
    ),
    Place(  # meadow
        (("#a8cbe0", "#6f9440"), ("#e6e2b0", "#7f8f37"), ("#86a85a", "#46682c")),
        ("blade", "blade", "flower"),
        ("#5f8a34", "#8fae48", "#3f6a2a", "#b6bf58", "#c9a94c"),
        low=0.3,
    ),
    Place(  # autumn wood
        (("#e0b060", "#7a4324"), ("#c7a27c", "#5a3a2a"), ("#f0d090", "#9a3f22")),
        ("leaf", "leaf", "trunk"),
        ("#c8642a", "#e09a30", "#a53a24", "#7d4a26", "#e8c04a", "#5f3b2a"),
    ),
    Place(  # snow
        (("#dfe8f0", "#b4c2d0"), ("#f4efe8", "#c3c4cf"), ("#a3b2c9", "#e9eef2")),
        ("trunk", "blob", "boulder"),
        ("#f6f8fa", "#cdd8e2", "#9faab8", "#6b6660", "#e6ecf2", "#4d4a4b"),
        0.6,
    ),
    Place(  # blossom
        (("#9cc4e4", "#e8d7e0"), ("#7f9f5a", "#4a6a3a"), ("#f3dfe6", "#b48aa6")),
        ("flower", "leaf", "petal"),
        ("#f4c3d4", "#e58fb0", "#ffffff", "#6f9a45", "#b96a94", "#f6e3a0"),
    ),
    Place(  # dim wood
        (("#2c3528", "#14160f"), ("#5a5446", "#25211b"), ("#33424a", "#151b1e")),
        ("trunk", "leaf", "blob"),
        ("#3a3a28", "#56512f", "#252a1c", "#6d6440", "#44392c", "#7f8a4a"),
    ),
)


def paint_background(side: int, rng: np.random.Generator) -> Image.Image:
    """Paint a place: light, three planes from far to near, and brush strokes.

    The far planes are painted small and scaled up, which blurs them as a lens would.

    Args:
        side: Side of the image to return, pixels.
        rng: Random numbers of the image.

    Returns:
        The background, RGB.
    """
    place = PLACES[rng.integers(len(PLACES))]
    top, bottom = (_rgb(c) for c in place.skies[rng.integers(len(place.skies))])
    if rng.random() < 0.25:  # a hedge in bloom, a red wall: any colour may fill it
        bottom = 0.5 * bottom + 0.5 * _bird_colours(1, rng)[0]
    tone = rng.normal(0, 14, 3)
    axis = np.linspace(0, 1, 16)
    ramp = axis[:, None] + rng.uniform(-0.4, 0.4) * (axis[None, :] - 0.5)
    light = top + ramp[..., None] * (bottom - top) + tone
    light += rng.normal(0, 5, light.shape)
    image = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
    focus = rng.uniform(0.08, 0.18)
    for pixels, count, size in (
        (int(focus * side), 26, 0.2),
        (int(2.5 * focus * side), 34, 0.13),
        (side, 30, 0.09),
    ):
        image = image.resize((pixels, pixels), Image.Resampling.BICUBIC)
        _paint_plane(image, place, int(count * place.density), size, tone, rng)
        _paint_decoys(image, int(rng.integers(0, 7)), 0.8 * size, rng)
    _paint_strokes(image, 120, rng)
    return image


def paint_perch(
    image: Image.Image,
    foot: Points,
    width: float,
    standing: bool,
    rng: np.random.Generator,
) -> None:
    """Paint what the bird rests on: a branch, a stem or the ground.

    Args:
        image: Image to paint on.
        foot: Place of the feet `(2,)`, shares of the frame.
        width: Thickness of a branch, a share of the frame.
        standing: Whether it stands on the ground instead of a branch.
        rng: Random numbers of the image.
    """
    place = PLACES[rng.integers(len(PLACES))]
    base = _of(place, 1, rng)[0] * rng.uniform(0.5, 0.95)
    if standing:
        _paint_ground(image, foot, base, rng)
        return
    slope = rng.normal(0, 0.25) if rng.random() < 0.8 else rng.uniform(-1.6, 1.6)
    along = np.linspace(-1.2, 1.2, 13)
    sag = slope * along + rng.normal(0, 0.15) * along**2 + rng.normal(0, 0.01, 13)
    sag[6] = 0.0  # where the feet are
    line = np.stack([along, sag], axis=1) + foot + (0, 0.5 * width)
    half = np.linspace(1.25, 0.75, 13)[:, None] * width / 2
    lit = thick(line - (0, 0.18 * width), 0.6 * half)
    fill(image, [thick(line, half), lit], np.stack([0.72 * base, base]))
    for start in line[rng.integers(0, 12, 3)]:  # side twigs, with a few leaves
        end = start + rng.uniform(-0.25, 0.25, 2)
        middle = 0.5 * (start + end) + rng.normal(0, 0.02, 2)
        fill(image, [thick([start, middle, end], 0.15 * width)], [base * 0.8])
        leaves = strew("leaf", end + rng.normal(0, 0.03, (3, 2)), 0.09, rng)
        fill(image, leaves, _of(place, 3, rng))


def draw_occluder(
    rng: np.random.Generator,
) -> tuple[list[Points], NDArray[np.float64]]:
    """Draw something to stand in front: leaves, a twig, grass or blossom.

    Args:
        rng: Random numbers of the image.

    Returns:
        Polygons in shares of the frame, and a colour for each `(polygons, 3)`.
    """
    place = PLACES[rng.integers(len(PLACES))]
    kind = ("blade", "leaf", "leaf", "petal")[rng.integers(4)]
    if kind == "blade":  # from below
        centres = rng.uniform((0, 0.75), (1, 1.15), (rng.integers(3, 8), 2))
        shapes = list(strew(kind, centres, 0.5, rng))
    else:
        angle = rng.uniform(0, 2 * np.pi)
        start = 0.5 + 0.8 * np.array([np.cos(angle), np.sin(angle)])
        end = rng.uniform(0.2, 0.8, 2)
        middle = 0.5 * (start + end) + rng.normal(0, 0.08, 2)
        along = rng.uniform(0, 1, (rng.integers(3, 9), 1))
        centres = start + along * (end - start) + rng.normal(0, 0.03, (len(along), 2))
        shapes = [thick([start, middle, end], rng.uniform(0.005, 0.014))]
        shapes += list(strew(kind, centres, rng.uniform(0.1, 0.2), rng))
    base = (_bird_colours if rng.random() < 0.25 else partial(_of, place))(1, rng)
    gains = rng.uniform(0.75, 1.2, (len(shapes), 1))
    return shapes, base * gains + rng.normal(0, 7, (len(shapes), 3))


def fill(image: Image.Image, shapes: Iterable[Points], colours: ArrayLike) -> None:
    """Fill shapes, given in shares of the frame, with colours `(n, 3)`."""
    draw = ImageDraw.Draw(image)
    side = image.size[0]
    inks = np.clip(colours, 0, 255).astype(int).tolist()
    for shape, ink in zip(shapes, inks, strict=True):
        draw.polygon((shape * side).ravel().tolist(), fill=tuple(ink))


def _paint_plane(
    image: Image.Image,
    place: Place,
    count: int,
    size: float,
    tone: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    n = max(1, count // len(place.shapes))
    for kind in place.shapes:
        centres = rng.uniform((-0.05, place.low), (1.05, 1.1), (n, 2))
        shapes = strew(kind, centres[np.argsort(centres[:, 1])], size, rng)
        colours = _of(place, n, rng) * rng.uniform(0.75, 1.2, (n, 1))
        colours += tone + rng.normal(0, 8, (n, 3))
        if kind in ("leaf", "boulder"):  # with a lit side each
            heart = shapes.mean(axis=1, keepdims=True)
            lit = heart + 0.6 * (shapes - heart) - 0.006
            shapes = np.stack([shapes, lit], axis=1).reshape(2 * n, -1, 2)
            colours = np.stack([colours, 1.13 * colours], axis=1).reshape(2 * n, 3)
        fill(image, shapes, colours)


def _paint_decoys(
    image: Image.Image, count: int, size: float, rng: np.random.Generator
) -> None:
    """Paint flowers, berries and two-coloured leaves in the colours of birds."""
    kinds = ("flower", "blob", "leaf", "petal", "berry")
    for _ in range(count):
        n = int(rng.integers(1, 5))
        centres = rng.uniform(0, 1, 2) + rng.normal(0, size, (n, 2))
        kind = kinds[rng.integers(len(kinds))]
        shapes = strew(kind, centres, size * rng.uniform(0.5, 1.6), rng)
        colour, mark = _bird_colours(2, rng)
        fill(image, shapes, colour * rng.uniform(0.85, 1.1, (n, 1)))
        if rng.random() < 0.5:
            heart = shapes.mean(axis=1, keepdims=True)
            fill(image, heart + 0.4 * (shapes - heart), np.tile(mark, (n, 1)))


def _paint_strokes(image: Image.Image, count: int, rng: np.random.Generator) -> None:
    """Paint strokes of a dry brush, each nearly in the colour below it."""
    side = image.size[0]
    centres = rng.uniform(0, 1, (count, 2))
    lean = rng.uniform(-1.5, 1.5)  # all strokes of an image lean alike
    at = (centres * side).astype(int)
    found = np.asarray(image)[at[:, 1], at[:, 0]]
    dabs = strew("dab", centres, 0.06, rng, lean)
    fill(image, dabs, found + rng.normal(0, 7, (count, 1)))


def _paint_ground(
    image: Image.Image,
    foot: Points,
    base: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    x = np.linspace(-0.1, 1.1, 13)
    y = foot[1] + 0.6 * (x - foot[0]) ** 2 * rng.uniform(-0.3, 1.0)
    y += rng.normal(0, 0.008, 13) * np.minimum(1, 4 * np.abs(x - foot[0]))
    edge = np.concatenate([np.stack([x, y], axis=1), [(1.1, 1.2), (-0.1, 1.2)]])
    fill(image, [edge], [base])
    low = max(1.0, foot[1] + 0.1)
    centres = rng.uniform((0, foot[1] + 0.03), (1, low), (50, 2))
    kind = ("ripple", "boulder", "leaf")[rng.integers(3)]
    stones = strew(kind, centres, 0.05, rng, 0.0)
    ridge = np.interp(stones[:, :, 0], x, y)
    stones = stones[(stones[:, :, 1] > ridge).all(axis=1)]
    fill(image, stones, base * rng.normal(1, 0.16, (len(stones), 1)))


def _of(place: Place, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    colours = np.stack([_rgb(code) for code in place.colours])
    return colours[rng.integers(0, len(colours), count)]


def _bird_colours(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    colours = np.array(list(PALETTE.values()), float)
    return colours[rng.integers(0, len(colours), count)]


def _rgb(code: str) -> NDArray[np.float64]:
    return np.array([int(code[k : k + 2], 16) for k in (1, 3, 5)], float)
