"""Draw one bird of Plumage as coloured polygons, in coordinates of its own.

The body is about one unit long, the bird faces right, and y points down. Later all
polygons are turned, mirrored and scaled alike, so a bird keeps its markings in any
pose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from deml_tf.data.plumage.outlines import (
    Colour,
    Points,
    ellipse,
    hull,
    rotation,
    smooth,
    stroke,
)
from deml_tf.data.plumage.species import PALETTE, Species

Outline = Callable[[ArrayLike], Points]  # from points of a part to those of the bird
Add = Callable[..., None]  # name, polygons, colour, and what clips them

_DARK: Colour = (34, 28, 32)
_PALE: Colour = (248, 242, 228)


@dataclass(frozen=True, slots=True)
class Part:
    """Polygons of one colour; `inside` names the earlier part that clips them."""

    name: str
    polygons: list[Points]
    colour: Colour
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Pose:
    """Posture and build of one individual.

    Attributes:
        kind: What it does.
        pitch: Angle of the body, chest above tail, radians.
        head: Angle of the bill above the horizontal, radians.
        turned: Whether it looks back over its shoulder.
        tail: Angle of the tail below the axis of the body, radians.
        flap: Angle of the near wing, radians; only in flight.
        wing_down: Whether the wings of a flying bird are down.
        plump: Factor on the height of the body.
        long: Factor on the length of the body.
        head_size: Radius of the head, body lengths.
        proportion: Factors on the length of bill, tail and legs.
    """

    kind: Literal["perched", "standing", "flying"]
    pitch: float
    head: float
    turned: bool
    tail: float
    flap: float
    wing_down: bool
    plump: float
    long: float
    head_size: float
    proportion: tuple[float, float, float]


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: half of the birds perch, a quarter stand and a quarter fly."""
    kind = ("perched", "perched", "standing", "flying")[rng.integers(4)]
    low, high = {"perched": (0.3, 1.0), "standing": (0.0, 0.6), "flying": (-0.3, 0.5)}[
        kind
    ]
    bill, tail, leg = rng.uniform(0.9, 1.1, 3)
    return Pose(
        kind=kind,
        pitch=rng.uniform(low, high),
        head=rng.uniform(-0.3, 0.35),
        turned=kind != "flying" and rng.random() < 0.2,
        tail=rng.uniform(-0.35, 0.3),
        flap=rng.uniform(-0.5, 0.45),
        wing_down=rng.random() < 0.3,
        plump=rng.uniform(0.88, 1.16),
        long=rng.uniform(0.92, 1.08),
        head_size=rng.uniform(0.215, 0.245),
        proportion=(bill, tail, leg * (0.6 if kind == "perched" else 1.0)),
    )


def bird_parts(
    species: Species, pose: Pose, rng: np.random.Generator
) -> tuple[list[Part], Points]:
    """Build a bird.

    Args:
        species: Species, whose attributes it shows.
        pose: Its posture.
        rng: Random numbers for small variations of colour.

    Returns:
        Its parts in the order of painting, and the place of its feet `(2,)`.
    """
    look = species.attributes
    colours = {name: _vary(rgb, rng) for name, rgb in PALETTE.items()}
    crown, back, breast, wing = (
        colours[look[part]] for part in ("crown", "back", "breast", "wing")
    )
    turn = rotation(-pose.pitch)
    size = pose.head_size
    centre = _body(turn, pose, [(0.37, -0.17)])[0] + (0.07, -0.13)

    def body(points: ArrayLike) -> Points:
        return _body(turn, pose, points)

    def head(
        points: ArrayLike, forward: float = -1.0 if pose.turned else 1.0
    ) -> Points:
        points = np.asarray(points, float) @ rotation(-pose.head).T
        return centre + size * points * (forward, 1.0)

    parts: list[Part] = []

    def add(
        name: str, polygons: list[Points], colour: Colour, inside: str | None = None
    ) -> None:
        parts.append(Part(name, polygons, colour, inside))

    flying = pose.kind == "flying"
    if flying:
        add("far_wing", [_open_wing(body, pose, far=True)], _shade(wing, 0.66))
    _add_tail(add, body, pose, look["tail_length"], wing, pose.proportion[1])
    foot = _add_legs(add, body, pose) if not flying else body([(0.0, 0.3)])[0]
    if look["crest"] == "crested":
        tuft = [(0.75, -0.6), (0.1, -1.12), (-1.0, -1.5), (-1.75, -1.45)]
        tuft += [(-1.15, -1.05), (-0.95, -0.4), (0.0, -0.3)]
        add("crest", [smooth(head(tuft))], crown)
    trunk = body(
        [(-0.52, -0.07), (-0.2, -0.26), (0.14, -0.3), (0.36, -0.24), (0.46, -0.02)]
        + [(0.34, 0.22), (0.04, 0.31), (-0.28, 0.2), (-0.52, 0.05)]
    )
    throat = body([(0.2, -0.03)])[0]
    neck = hull(throat, 0.25 * pose.plump, centre, size * 0.96)
    add("body", [smooth(trunk), neck, ellipse(centre, size, size)], back)

    forward = head([(-0.75, 0.35), (0.3, 0.0), (1.1, 0.0), (1.5, 0.9)], 1.0)
    below = [(0.95, 0.2), (0.5, 0.7), (-0.3, 0.7), (-0.62, 0.3), (-0.46, 0.1)]
    flank = [(-0.15, 0.07), (0.1, -0.02)]
    front = np.concatenate([forward, body(below), body(flank)])
    add("breast", [smooth(front)], breast, "body")
    _add_pattern(add, body, look["breast_pattern"], breast, rng)

    add("head", [ellipse(centre, size * 1.01, size * 1.01)], breast)
    _add_face(add, head, look, colours)
    bill = {"short": 0.6, "medium": 1.25, "long": 2.35}[look["bill_length"]]
    _add_bill(add, head, bill * pose.proportion[0], colours[look["bill_colour"]])
    _add_wing(add, body, pose, look["wing_bars"], wing)
    return parts, foot


def _add_face(
    add: Add, head: Outline, look: dict[str, str], colours: dict[str, Colour]
) -> None:
    cap = [(1.3, -0.2), (0.55, -0.16), (-0.3, -0.08), (-0.9, 0.35), (-1.5, 0.6)]
    cap += [(-1.5, -1.3), (1.3, -1.3)]
    add("cap", [head(cap)], colours[look["crown"]], "head")
    if look["eye_stripe"] != "none":
        stripe = stroke([(1.05, 0.03), (0.35, -0.05), (-0.5, 0.0), (-1.1, 0.25)], 0.36)
        add("stripe", [head(stripe)], colours[look["eye_stripe"]], "head")
    eye = (0.36, -0.03)
    if look["eye_ring"] != "none":
        add("ring_edge", [head(ellipse(eye, 0.38, 0.38))], _DARK)
        add("ring", [head(ellipse(eye, 0.33, 0.33))], _PALE)
    add("eye", [head(ellipse(eye, 0.19, 0.19))], (16, 12, 14))
    add("glint", [head(ellipse((0.43, -0.1), 0.065, 0.065))], (250, 250, 250))


def _add_tail(
    add: Add, body: Outline, pose: Pose, length: str, wing: Colour, factor: float
) -> None:
    reach = {"short": 0.2, "medium": 0.52, "long": 1.05}[length] * factor
    fan = 0.1 if pose.kind != "flying" else 0.15
    root = np.array([-0.44, -0.01])
    tilt = rotation(-pose.tail).T
    vane = np.array([(0.06, -0.07), (-reach, -fan), (-reach * 1.07 - 0.03, -fan * 0.3)])
    notch = [(-reach * 0.98 - 0.03, 0.0)]
    mirrored = vane[::-1] * (1, -1)
    outline = root + np.concatenate([vane, notch, mirrored]) @ tilt
    shaft = root + stroke([(0.0, 0.0), (-reach, 0.0)], 0.02) @ tilt
    add("tail", [body(outline)], _shade(wing, 0.84))
    add("shaft", [body(shaft)], _shade(wing, 0.55))


def _add_legs(add: Add, body: Outline, pose: Pose) -> Points:
    length = 0.26 * pose.proportion[2]
    legs, feet = [], []
    for hip in body([(-0.06, 0.24), (0.07, 0.24)]):
        foot = hip + (0.03, length)
        toes = [foot + (-0.05, 0.015), foot + (0.03, -0.01), foot + (0.09, 0.02)]
        legs += [stroke([hip, foot], 0.035), stroke(toes, 0.035)]
        feet.append(foot)
    add("legs", legs, (84, 66, 60))
    return np.mean(feet, axis=0)


def _add_bill(add: Add, head: Outline, length: float, colour: Colour) -> None:
    tip = (0.88 + length, 0.16 + 0.05 * length**2)
    middle = 0.88 + 0.5 * length
    upper = [(0.8, -0.3), (middle, -0.2 + 0.03 * length), tip]
    lower = [(middle, 0.26), (0.8, 0.36)]
    add("bill", [head(upper + lower)], colour)
    gape = stroke([(0.8, 0.06), (middle, 0.06), tip], 0.07)
    add("gape", [head(gape)], _shade(colour, 0.45))


def _add_pattern(
    add: Add, body: Outline, pattern: str, breast: Colour, rng: np.random.Generator
) -> None:
    if pattern == "plain":
        return
    colour = _DARK if _luminance(breast) > 75 else _PALE
    marks: list[Points] = []
    shift = rng.uniform(-0.03, 0.03, 2)
    if pattern == "barred":
        for x in np.arange(-0.42, 0.62, 0.13) + shift[0]:
            bow = [(x - 0.02, -0.3), (x + 0.04, 0.05), (x - 0.04, 0.4)]
            marks.append(stroke(bow, 0.055))
    else:
        rows = np.arange(-0.24, 0.36, 0.105) + shift[1]
        for k, y in enumerate(rows):
            for x in np.arange(-0.45, 0.6, 0.15) + shift[0] + 0.075 * (k % 2):
                if pattern == "spotted":
                    marks.append(ellipse((x, y), 0.042, 0.042, 8))
                else:
                    marks.append(stroke([(x - 0.065, y - 0.01), (x + 0.065, y)], 0.04))
    add("pattern", [body(mark) for mark in marks], colour, "breast")


def _add_wing(add: Add, body: Outline, pose: Pose, bars: str, colour: Colour) -> None:
    quills, stripes = [], []
    if pose.kind == "flying":
        outline = _open_wing(body, pose)
        place = _wing_place(pose)
        lanes = ((0.27, -0.08), (-0.32, 0.0))  # shoulder of the leading, trailing edge
        tip = np.array((-0.12, -0.98))
        for share in (0.3, 0.5, 0.7, 0.88):
            start = (1 - share) * np.array(lanes[0]) + share * np.array(lanes[1])
            end = tip + share * np.array((-0.16, 0.42))
            quills.append(stroke([start * 0.9 + end * 0.1, end], 0.02))
        for share in (0.2, 0.46)[: {"none": 0, "one": 1, "two": 2}[bars]]:
            bow = [(0.3 - 0.55 * share, 0.1), (0.34 - 0.6 * share, -0.45)]
            bow += [(0.18 - 0.55 * share, -0.8 + 0.1 * share), (-0.1, -1.05)]
            stripes.append(stroke(bow, 0.075))
        quills = [body(place(q)) for q in quills]
        stripes = [body(place(s)) for s in stripes]
    else:
        folded = [(0.28, -0.03), (0.16, -0.13), (-0.1, -0.14), (-0.4, -0.09)]
        folded += [(-0.64, 0.01), (-0.4, 0.11), (-0.1, 0.18), (0.16, 0.15)]
        outline = smooth(body(folded))
        for y in (-0.08, -0.02, 0.05):
            quill = [(-0.22, 1.1 * y + 0.02), (-0.42, y), (-0.6, 0.3 * y)]
            quills.append(body(stroke(quill, 0.02)))
        for x in (0.1, -0.09)[: {"none": 0, "one": 1, "two": 2}[bars]]:
            bow = [(x + 0.03, -0.2), (x + 0.03, 0.02), (x - 0.06, 0.24)]
            stripes.append(body(stroke(bow, 0.075)))
    add("wing", [outline], colour)
    add("wing_shadow", quills, _shade(colour, 0.62), "wing")
    if stripes:
        pale = _luminance(colour) < 165
        add("bars", stripes, _PALE if pale else _DARK, "wing")


def _open_wing(body: Outline, pose: Pose, far: bool = False) -> Points:
    edge = [(0.27, -0.06), (0.36, -0.4), (0.2, -0.78), (-0.12, -1.02), (-0.2, -0.78)]
    edge += [(-0.3, -0.62), (-0.32, -0.42), (-0.4, -0.26), (-0.34, 0.0)]
    place = _wing_place(pose, 0.42 if far else 0.0)
    return smooth(body(place(edge) + ((0.1, -0.04) if far else (0.0, 0.0))))


def _wing_place(pose: Pose, extra: float = 0.0) -> Outline:
    """Return a function that turns points of a raised wing about the shoulder."""
    spin = rotation(pose.flap + extra).T
    stroke = np.array([1.0, -0.85 if pose.wing_down else 1.0])
    return lambda points: (np.asarray(points, float) @ spin) * stroke + (0.02, -0.08)


def _body(turn: Points, pose: Pose, points: ArrayLike) -> Points:
    return (np.asarray(points, float) * (pose.long, pose.plump)) @ turn.T


def _vary(rgb: Colour, rng: np.random.Generator) -> Colour:
    return _clip(np.asarray(rgb) * rng.uniform(0.93, 1.05) + rng.normal(0, 6, 3))


def _shade(rgb: Colour, factor: float) -> Colour:
    return _clip(np.asarray(rgb) * factor)


def _clip(rgb: ArrayLike) -> Colour:
    r, g, b = np.clip(np.asarray(rgb), 0, 255).astype(int).tolist()
    return r, g, b


def _luminance(rgb: Colour) -> float:
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
