"""Boxes, saliency maps and contact sheets drawn on images, uint8 in and out."""

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

Mark = Literal["query", "hit", "miss"]

# Okabe and Ito's palette, for colour-blind readers too: one colour per scale.
SCALE_COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 190, 140),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
)
TRUTH_COLOUR = (255, 255, 255)
MARK_COLOURS: dict[Mark, tuple[int, int, int]] = {
    "query": (70, 110, 190),
    "hit": (0, 140, 90),
    "miss": (205, 50, 40),
}
# In a contact sheet: pixels of a frame and around it, and the colour around it.
_FRAME, _GAP, _SPACE = 4, 6, (245, 245, 245)


def scale_colour(scale: int) -> tuple[int, int, int]:
    """Return the colour of a scale, counted from 0; they repeat after six."""
    return SCALE_COLOURS[scale % len(SCALE_COLOURS)]


def hex(colour: tuple[int, int, int]) -> str:
    """Return a colour as pages and charts write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def draw_boxes(
    image: np.ndarray, boxes: np.ndarray, truth: np.ndarray | None = None
) -> np.ndarray:
    """Draw the box of every scale, first scale at the bottom, and the listed box.

    Args:
        image: `(h, w, 3)` uint8.
        boxes: `(i, 4)`: ymin, xmin, ymax, xmax relative to the image, one colour
            each. The line runs inside the box; what lies outside the image is
            cut off; a box with NaN is left out.
        truth: `(4,)`, the listed box, dashed in white; None draws none.

    Returns:
        `(h, w, 3)` uint8, a copy.
    """
    canvas = Image.fromarray(_image(image))
    line = max(2, round(min(canvas.size) / 90))
    pen = ImageDraw.Draw(canvas)
    for scale, box in enumerate(np.reshape(boxes, (-1, 4))):
        edges = _pixels(box, canvas.size)
        if edges is not None:
            # A dark rim keeps every colour visible on every photograph.
            pen.rectangle(edges, outline=(0, 0, 0), width=line + 1)
            pen.rectangle(edges, outline=scale_colour(scale), width=line)
    edges = None if truth is None else _pixels(np.asarray(truth), canvas.size)
    if edges is not None:
        _dashed(pen, edges, line)
    return np.asarray(canvas)


def overlay_saliency(image: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """Lay a saliency map over the image it was found on.

    The map is stretched to 0..1 and resized bilinearly (half-pixel centres); low
    values become dark, high values bright.

    Args:
        image: `(h, w, 3)` uint8.
        saliency: `(gh, gw)`, any scale. A constant map counts as zero everywhere.

    Returns:
        `(h, w, 3)` uint8.
    """
    image = _image(image)
    height, width = image.shape[:2]
    heat = np.nan_to_num(np.asarray(saliency, np.float32), posinf=0.0, neginf=0.0)
    heat = heat - heat.min()
    heat = heat / heat.max() if heat.max() > 0 else heat
    heat = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
    colours = matplotlib.colormaps["inferno"](np.asarray(heat))[..., :3]
    return _bytes(0.45 * image + 0.55 * 255 * colours)


def crop(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Cut a box out and resize it to a square; black beyond the image's border.

    Args:
        image: `(h, w, 3)` uint8.
        box: `(4,)`: ymin, xmin, ymax, xmax relative to the image.
        size: Side of the square, pixels.

    Returns:
        `(size, size, 3)` uint8; the whole image for an empty box or one with NaN.
    """
    image = _image(image)
    height, width = image.shape[:2]
    edges = np.asarray(box, np.float64) * (height, width, height, width)
    if not np.isfinite(edges).all() or min(edges[2:] - edges[:2]) <= 0:
        edges = np.array([0.0, 0.0, height, width])
    top, left = np.ceil(np.maximum(0, -edges[:2])).astype(int)
    bottom, right = np.ceil(np.maximum(0, edges[2:] - (height, width))).astype(int)
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)))
    y0, x0, y1, x1 = edges + (top, left, top, left)
    square = Image.fromarray(padded).resize(
        (size, size), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1)
    )
    return np.asarray(square)


def thumbnail(image: np.ndarray, size: int) -> np.ndarray:
    """Return the whole image, its longer side at most `size` pixels."""
    small = Image.fromarray(_image(image))
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small)


def contact_sheet(
    rows: Sequence[Sequence[tuple[np.ndarray, Mark]]], size: int = 96
) -> np.ndarray:
    """Draw rows of thumbnails in coloured frames.

    A hit's frame is green with a tick, a miss's red with a cross, the query's blue:
    the sign is for those who do not see the colour.

    Args:
        rows: For each row its `(image (h, w, 3) uint8, mark)` from left to right; rows
            may differ in length.
        size: Side of a thumbnail, pixels; images keep their shape inside it.

    Returns:
        `(height, width, 3)` uint8.
    """
    pitch = size + 2 * _FRAME + _GAP
    columns = max((len(row) for row in rows), default=0)
    sheet = Image.new("RGB", (_GAP + columns * pitch, _GAP + len(rows) * pitch), _SPACE)
    pen = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        for c, (image, mark) in enumerate(row):
            x, y = _GAP + c * pitch, _GAP + r * pitch
            colour = MARK_COLOURS[mark]
            outer = size + 2 * _FRAME - 1
            pen.rectangle((x, y, x + outer, y + outer), fill=colour)
            x, y = x + _FRAME, y + _FRAME
            pen.rectangle((x, y, x + size - 1, y + size - 1), fill=_SPACE)
            small = Image.fromarray(thumbnail(image, size))
            left, top = (size - small.width) // 2, (size - small.height) // 2
            sheet.paste(small, (x + left, y + top))
            if mark != "query":
                _sign(pen, x, y, max(10, size // 6), mark == "hit", colour)
    return np.asarray(sheet)


def _sign(
    pen: ImageDraw.ImageDraw,
    x: int,
    y: int,
    side: int,
    hit: bool,
    colour: tuple[int, int, int],
) -> None:
    """Draw a white tick or cross on a coloured square, its corner at (x, y)."""
    pen.rectangle((x, y, x + side - 1, y + side - 1), fill=colour)

    def stroke(*points: tuple[float, float]) -> None:
        spots = [(x + px * (side - 1), y + py * (side - 1)) for px, py in points]
        pen.line(spots, fill=(255, 255, 255), width=max(2, side // 7))

    if hit:
        stroke((0.2, 0.55), (0.42, 0.78), (0.8, 0.25))
    else:
        stroke((0.25, 0.25), (0.75, 0.75))
        stroke((0.75, 0.25), (0.25, 0.75))


def _dashed(
    pen: ImageDraw.ImageDraw, edges: tuple[int, int, int, int], line: int
) -> None:
    """Draw a dashed rectangle: white dashes on a black line."""
    x0, y0, x1, y1 = edges
    pen.rectangle(edges, outline=(0, 0, 0), width=line)
    dash = 4 * line
    for start in range(x0, x1 + 1, 2 * dash):
        stop = min(start + dash - 1, x1)
        pen.rectangle((start, y0, stop, y0 + line - 1), fill=TRUTH_COLOUR)
        pen.rectangle((start, y1 - line + 1, stop, y1), fill=TRUTH_COLOUR)
    for start in range(y0, y1 + 1, 2 * dash):
        stop = min(start + dash - 1, y1)
        pen.rectangle((x0, start, x0 + line - 1, stop), fill=TRUTH_COLOUR)
        pen.rectangle((x1 - line + 1, start, x1, stop), fill=TRUTH_COLOUR)


def _pixels(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return first and last pixel (x0, y0, x1, y1) of a box; None if it has none.

    The box is relative to the image's size.
    """
    if not np.isfinite(box).all():
        return None
    width, height = size
    y0, x0, y1, x1 = np.rint(box * np.array([height, width, height, width])).astype(int)
    x0, y0 = max(0, x0), max(0, y0)
    x1, y1 = min(width, x1) - 1, min(height, y1) - 1
    return (x0, y0, x1, y1) if x0 <= x1 and y0 <= y1 else None


def _image(image: np.ndarray) -> np.ndarray:
    """Return the image as contiguous uint8; floats 0..255 are rounded."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"An image has shape (h, w, 3), not {image.shape}.")
    return np.ascontiguousarray(image if image.dtype == np.uint8 else _bytes(image))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
