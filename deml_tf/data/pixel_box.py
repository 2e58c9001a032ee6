"""A box in pixels of a stored image, made relative to the image's size."""

import math
from collections.abc import Sequence

from PIL import Image

from deml_tf.data.example import Box
from deml_tf.data.orientation import header_orientation, upright_box
from deml_tf.errors import DataError


def relative_box(path: str, cells: Sequence[str | float]) -> Box | None:
    """Divides a box by the size that the image's header tells.

    Args:
        path: the image's file.
        cells: x, y, w, h in pixels, numbers or texts of numbers.

    Returns:
        (ymin, xmin, ymax, xmax) from 0 to 1, clipped to the image and turned upright
        with it; None for an image whose size cannot be read, which is for the scan
        to refuse or to skip.

    Raises:
        DataError: not four numbers, or a box that holds nothing of the image.
    """
    given = ",".join(map(str, cells))
    try:
        x, y, w, h = (float(cell) for cell in cells)
    except ValueError:
        raise DataError(
            f"x,y,w,h is {given}: not four numbers, nor all four empty"
        ) from None
    try:
        with Image.open(path) as image:  # reads the header alone
            width, height = image.size
            orientation = header_orientation(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
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
