"""The box of an object: from pixels to shares of the upright image."""

import math
from collections.abc import Sequence

from PIL import ExifTags, Image

from deml_tf.data.converted_formats import register_plug_ins
from deml_tf.data.example import Box
from deml_tf.data.orientation import header_orientation
from deml_tf.data.regular_files import open_regular
from deml_tf.errors import DataError


def relative_box(path: str, cells: Sequence[str | float]) -> Box | None:
    """Divide a box by the size of its image, which the header of the file gives.

    Args:
        path: File of the image.
        cells: x, y, w, h in pixels of the image as stored, as numbers or as text.

    Returns:
        (ymin, xmin, ymax, xmax) from 0 to 1, clipped to the image and turned upright
        with it. None for an image whose size cannot be read: the scan reports it.

    Raises:
        DataError: The cells are not four numbers, or the box lies outside the image.
    """
    given = ",".join(map(str, cells))
    try:
        x, y, w, h = (float(cell) for cell in cells)
    except ValueError:
        raise DataError(
            f"x,y,w,h is {given}: not four numbers, nor all four empty"
        ) from None
    try:
        # Pillow reads the header alone.
        register_plug_ins()
        with open_regular(path) as file, Image.open(file) as image:
            width, height, orientation = _stored(image)
    except Exception:  # Pillow's parsers raise a dozen kinds of error on damaged files
        return None
    ymin, ymax = max(y, 0.0) / height, min(y + h, height) / height
    xmin, xmax = max(x, 0.0) / width, min(x + w, width) / width
    finite = all(math.isfinite(number) for number in (x, y, w, h))
    if not (finite and ymin < ymax and xmin < xmax):
        raise DataError(
            f"the box x,y,w,h = {given} holds nothing of the {width} x {height} pixels "
            f"of {path}"
        )
    return upright_box((ymin, xmin, ymax, xmax), orientation)


def _stored(image: Image.Image) -> tuple[int, int, int]:
    """Return width and height of an opened image as stored, and its orientation."""
    width, height = image.size
    if image.format != "TIFF":
        return width, height, header_orientation(image)
    # Pillow turns TIFF files upright by itself, and reports the size after that.
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    orientation = found if found in range(1, 9) else 1
    if orientation >= 5:
        width, height = height, width
    return width, height, orientation


def upright_box(box: Box, orientation: int) -> Box:
    """Turn a box with its image.

    Args:
        box: (ymin, xmin, ymax, xmax), relative to the image as stored.
        orientation: EXIF orientation of the image, 1 to 8.

    Returns:
        The box relative to the upright image.
    """
    ymin, xmin, ymax, xmax = box
    if orientation >= 5:
        ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
    if orientation in (3, 4, 7, 8):
        ymin, ymax = 1 - ymax, 1 - ymin
    if orientation in (2, 3, 6, 7):
        xmin, xmax = 1 - xmax, 1 - xmin
    return ymin, xmin, ymax, xmax
