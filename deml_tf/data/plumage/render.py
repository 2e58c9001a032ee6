"""Draw one image of Plumage: a bird in a scene, with light and occlusion."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from deml_tf.data.plumage.bird import Part, bird_parts, draw_pose
from deml_tf.data.plumage.outlines import Points
from deml_tf.data.plumage.scene import (
    draw_occluder,
    fill,
    paint_background,
    paint_perch,
)
from deml_tf.data.plumage.species import Species

SMALLEST, LARGEST = 0.3, 0.9  # longer side of the whole bird, shares of the frame
LEAST_VISIBLE = 0.7  # share of the bird that occluders must leave
_OVERSAMPLE = 2

Extent = tuple[float, float, float, float]  # x, y, width, height in pixels
Ink = int | tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Drawing:
    """An image and its ground truth.

    Attributes:
        image: RGB, square.
        mask: Mode "1", the visible part of the bird.
        box: x, y, width, height of the mask, pixels.
        extent: x, y, width, height of the whole bird with its hidden parts, pixels.
    """

    image: Image.Image
    mask: Image.Image
    box: tuple[int, int, int, int]
    extent: Extent


def draw_image(
    species: Species, size: int, rng: np.random.Generator, view: float = 1.0
) -> Drawing:
    """Draw one image of a species.

    Args:
        species: Species to draw.
        size: Side of the image, pixels.
        rng: Random numbers of the image; the same ones draw the same image.
        view: How wide a view the image shows: the bird's share of its side is divided
            by this.

    Returns:
        The image with mask and boxes.
    """
    side = _OVERSAMPLE * size
    pose = draw_pose(rng)
    parts, foot = bird_parts(species, pose, rng)
    parts, foot, extent = _place(parts, foot, size, rng, view)
    scale = max(extent[2:]) / size

    image = paint_background(side, rng)
    if pose.kind != "flying":
        width = rng.uniform(0.05, 0.13) * scale
        paint_perch(image, foot / side, width, pose.kind == "standing", rng)
    silhouette, light = _paint_bird(image, parts, extent, rng)
    front, hidden = _occlude(silhouette, rng)

    canvas = np.asarray(image.reduce(_OVERSAMPLE), np.float32) * light[..., None]
    cover = np.asarray(hidden.reduce(_OVERSAMPLE), np.float32)[..., None] / 255
    canvas = canvas * (1 - cover) + np.asarray(front.reduce(_OVERSAMPLE), np.float32)
    canvas = _lighting(canvas, rng)

    visible = ImageChops.subtract(silhouette, hidden).reduce(_OVERSAMPLE)
    mask = visible.point([0] * 128 + [255] * 128, "1")
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    return Drawing(
        image=Image.fromarray(canvas),
        mask=mask,
        box=(left, top, right - left, bottom - top),
        extent=extent,
    )


def _place(
    parts: list[Part],
    foot: Points,
    size: int,
    rng: np.random.Generator,
    view: float,
) -> tuple[list[Part], Points, Extent]:
    """Turn, mirror, scale and move a bird into the frame, in drawn pixels."""
    roll = rng.normal(0, 0.12)
    c, s = np.cos(roll), np.sin(roll)
    matrix = np.array([(c, -s), (s, c)]).T * (rng.choice((-1.0, 1.0)), 1.0)
    outline = np.concatenate(
        [q @ matrix for p in parts if p.inside is None for q in p.polygons]
    )
    low, high = outline.min(axis=0), outline.max(axis=0)
    share = rng.uniform(SMALLEST + 0.02, LARGEST - 0.02) / view
    scale = share * size / (high - low).max()
    room = size - scale * (high - low)
    corner = room * rng.uniform(0.04, 0.96, 2)
    x, y, w, h = (float(v) for v in (*corner, *(scale * (high - low))))

    def move(points: Points) -> Points:
        return _OVERSAMPLE * ((points @ matrix - low) * scale + corner)

    moved = [
        Part(p.name, [move(q) for q in p.polygons], p.colour, p.inside) for p in parts
    ]
    return moved, move(foot), (x, y, w, h)


def _paint_bird(
    image: Image.Image, parts: list[Part], extent: Extent, rng: np.random.Generator
) -> tuple[Image.Image, NDArray[np.float32]]:
    """Paint the parts in order.

    Returns:
        The silhouette, of the size of `image`, and the light on the drawn image.
    """
    length = max(extent[2:])
    low = np.floor(np.array(extent[:2]) - 0.08 * length).clip(0).astype(int)
    high = np.ceil(np.array(extent[:2]) + extent[2:] + 0.08 * length).astype(int)
    size = image.size[0] // _OVERSAMPLE
    left, top, right, bottom = (int(v) for v in (*low, *high.clip(max=size)))
    corner = (_OVERSAMPLE * left, _OVERSAMPLE * top)
    paint = image.crop((*corner, _OVERSAMPLE * right, _OVERSAMPLE * bottom))
    shape = Image.new("L", paint.size)
    clips = {part.inside for part in parts}
    masks: dict[str, Image.Image] = {}
    for part in parts:
        flat = [(polygon - corner).ravel().tolist() for polygon in part.polygons]
        if part.inside is None:
            _fill_all(paint, flat, part.colour)
            _fill_all(shape, flat, 255)
        if part.inside is not None or part.name in clips:
            mask = Image.new("L", paint.size)
            _fill_all(mask, flat, 255)
            if part.inside is not None:
                mask = ImageChops.darker(mask, masks[part.inside])
                paint.paste(part.colour, mask=mask)
            masks[part.name] = mask
    image.paste(paint, corner)
    silhouette = Image.new("L", image.size)
    silhouette.paste(shape, corner)
    light = np.ones((size, size), np.float32)
    light[top:bottom, left:right] = _shading(shape, masks, length, rng)
    return silhouette, light


def _fill_all(surface: Image.Image, polygons: list[list[float]], ink: Ink) -> None:
    draw = ImageDraw.Draw(surface)
    for polygon in polygons:
        draw.polygon(polygon, fill=ink)


def _occlude(
    silhouette: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Put up to two things in front, if they leave enough of the bird visible."""
    bird = np.asarray(silhouette) > 0
    front, hidden = Image.new("RGB", silhouette.size), Image.new("L", silhouette.size)
    for _ in range((0, 0, 1, 1, 2)[rng.integers(5)]):
        shapes, colours = draw_occluder(rng)
        proposal = hidden.copy()
        flat = [(shape * silhouette.size[0]).ravel().tolist() for shape in shapes]
        _fill_all(proposal, flat, 255)
        if (np.asarray(proposal)[bird] > 0).mean() <= 1 - LEAST_VISIBLE:
            hidden = proposal
            fill(front, shapes, colours)
    return front, hidden


def _shading(
    shape: Image.Image,
    masks: dict[str, Image.Image],
    length: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Shade a rounded body: its blurred masks are used as a relief."""
    whole = shape.reduce(_OVERSAMPLE)
    relief = 1.4 * _blurred(whole, 0.07 * length)
    relief += 0.5 * _blurred(masks["wing"].reduce(_OVERSAMPLE), 0.02 * length)
    relief += 0.4 * _blurred(masks["head"].reduce(_OVERSAMPLE), 0.03 * length)
    down, right = np.gradient(relief)
    angle = rng.uniform(-1.0, 1.0)  # of the light, from straight above
    slope = (down * math.cos(angle) + right * math.sin(angle)) * (0.09 * length)
    light = 1 + np.clip(1.5 * slope, -0.4, 0.35) * rng.uniform(0.6, 1.2)
    light *= 1 + 0.035 * rng.standard_normal(light.shape, np.float32)  # plumage
    alpha = np.asarray(whole, np.float32) / 255
    return np.asarray(1 + alpha * (light - 1), np.float32)


def _blurred(mask: Image.Image, radius: float) -> NDArray[np.float32]:
    blurred = mask.filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred, np.float32) * np.float32(1 / 255)


def _lighting(
    canvas: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Apply the light of the scene and the camera: direction, spots, tint, grain."""
    size = canvas.shape[0]
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.6)
    ramp = math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    gain = 1 + strength * ramp
    if rng.random() < 0.4:  # sun through leaves
        spots = rng.uniform(0.65, 1.2, (5, 5)).astype(np.float32)
        dapple = Image.fromarray(spots).resize((size, size), Image.Resampling.BICUBIC)
        gain = gain * np.asarray(dapple)
    tint = 1 + rng.normal(0, 0.07, 3)
    exposure = np.exp(rng.normal(0.02, 0.13))
    canvas = canvas * (gain[..., None] * (tint * exposure).astype(np.float32))
    middle = np.float32(rng.uniform(105, 140))
    canvas = middle + (canvas - middle) * np.float32(rng.uniform(0.75, 1.05))
    grain = rng.standard_normal((size, size, 1), np.float32)
    canvas += np.float32(rng.uniform(0.5, 3)) * grain
    return np.clip(canvas, 0, 255).astype(np.uint8)
