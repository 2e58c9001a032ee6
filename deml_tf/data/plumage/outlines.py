"""Outlines of Plumage: curves, strokes, and scattered shapes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]  # (n, 2): x, y; y points down
Colour = tuple[int, int, int]


def rotation(angle: float) -> Points:
    """Return the matrix that turns x towards y by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, -s), (s, c)])


def ellipse(centre: ArrayLike, rx: float, ry: float, count: int = 24) -> Points:
    """Return an ellipse of `count` points."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.asarray(centre) + np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1)


def smooth(points: ArrayLike) -> Points:
    """Return a closed Catmull-Rom curve through points, six to a segment."""
    p = np.asarray(points, float)
    t = np.linspace(0, 1, 6, endpoint=False)[:, None, None]
    a, b, c, d = (np.roll(p, k, axis=0) for k in (1, 0, -1, -2))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d))
    curve += 0.5 * t**3 * (3 * (b - c) + d - a)
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def thick(line: ArrayLike, half: ArrayLike) -> Points:
    """Return a line as a polygon; `half` is half its width, a number or `(n, 1)`."""
    p, half = np.asarray(line, float), np.asarray(half, float)
    steps = p[1:] - p[:-1]
    along = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
    normal = along[:, ::-1] * (-1, 1) / np.hypot(along[:, :1], along[:, 1:])
    return np.concatenate([p + half * normal, (p - half * normal)[::-1]])


def stroke(points: ArrayLike, width: float) -> Points:
    """Return a line of some width, thinner at its ends, as a polygon."""
    half = np.full((np.shape(points)[0], 1), width / 2)
    half[[0, -1]] *= 0.75
    return thick(points, half)


def hull(a: Points, ra: float, b: Points, rb: float) -> Points:
    """Return the convex hull of two circles with centres a, b and radii ra, rb."""
    gap = b - a
    towards = np.arctan2(gap[1], gap[0])
    spread = np.arccos(np.clip((ra - rb) / np.hypot(*gap), -1, 1))
    t = np.linspace(spread, 2 * np.pi - spread, 14) + towards
    u = np.linspace(-spread, spread, 14) + towards
    around_a = a + ra * np.stack([np.cos(t), np.sin(t)], axis=1)
    around_b = b + rb * np.stack([np.cos(u), np.sin(u)], axis=1)
    return np.concatenate([around_a, around_b])


def strew(
    kind: str,
    centres: ArrayLike,
    size: float,
    rng: np.random.Generator,
    lean: float | None = None,
) -> NDArray[np.float64]:
    """Place copies of a shape, each turned, scaled and bent a little.

    Args:
        kind: "leaf", "petal", "blob", "boulder", "cloud", "ripple", "dab", "flower",
            "berry", "blade" or "trunk".
        centres: Centres of the copies `(n, 2)`, shares of the frame.
        size: Mean size, a share of the frame.
        rng: Random numbers of the image.
        lean: Direction of all copies, radians; None turns each as its kind does.

    Returns:
        Their outlines, `(n, points, 2)`.
    """
    outline, freedom, bend = _SHAPES[kind]
    centres = np.asarray(centres, float)
    n = len(centres)
    scale = size * rng.uniform(0.5, 1.5, (n, 1, 1))
    if bend:
        scale = scale * rng.normal(1, bend, (n, len(outline), 1))
    turn = rng.normal(0, freedom if lean is None else 0.2, n) + (lean or 0.0)
    c, s = np.cos(turn), np.sin(turn)
    spin = np.stack([np.stack([c, s], 1), np.stack([-s, c], 1)], 1)  # (n, 2, 2)
    return (outline * scale) @ spin + centres[:, None, :]


def _shapes() -> dict[str, tuple[Points, float, float]]:
    """Return by kind: outline, spread of directions in radians, bending of the edge."""
    t = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    leaf = np.stack([np.cos(t), 0.36 * np.sin(t) * (1 - 0.35 * np.cos(t))], axis=1)
    petals = (0.72 + 0.28 * np.cos(5 * t))[:, None]
    u = np.linspace(0, 1, 7)
    bow = np.stack([0.35 * u**2, 1.0 - 2 * u], axis=1)
    taper = np.linspace(0.05, 0.006, 7)[:, None]
    trunk = np.array([(-0.17, -8), (0.2, -8), (0.24, 8), (-0.22, 8)])
    return {
        "leaf": (0.6 * leaf, 3.0, 0.05),
        "petal": (0.32 * circle * (1, 0.7), 3.0, 0.06),
        "blob": (0.5 * circle * (1, 0.8), 3.0, 0.06),
        "boulder": (0.7 * circle[::2] * (1, 0.62), 0.3, 0.12),
        "cloud": (circle * (1.6, 0.4), 0.1, 0.06),
        "ripple": (circle[::2] * (0.9, 0.07), 0.12, 0.06),
        "dab": (circle[::2] * (0.9, 0.25), 3.0, 0.1),
        "flower": (0.42 * petals * circle, 3.0, 0.04),
        "berry": (0.22 * circle, 3.0, 0.0),
        "blade": (thick(bow, taper), 0.25, 0.0),
        "trunk": (trunk, 0.1, 0.05),
    }


_SHAPES = _shapes()
