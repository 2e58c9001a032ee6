"""Small upright copies of images, whatever their files hold."""

import io

from PIL import Image

from deml_tf.data.duplicates import grey, upright
from deml_tf.data.image_files import FORMATS
from deml_tf.data.image_header import refusal
from deml_tf.data.orientation import header_orientation


def thumbnail_of(encoded: bytes, side: int) -> Image.Image | None:
    """Decode an image at a small size.

    Args:
        encoded: The image's file; any bytes are allowed.
        side: Pixels of the longer side, at most.

    Returns:
        An upright RGB image; None if the file is not an image, or would take too much
        memory or time.
    """
    if refusal(encoded):
        return None
    try:
        # No other formats: Pillow would start other programs for some.
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            turn = header_orientation(image)
            image.draft("RGB", (2 * side, 2 * side))
            small = grey(image) if image.mode.startswith("I") else image
            small = upright(small.convert("RGB"), turn)
    except Exception:  # Pillow raises a dozen kinds of errors on damaged files
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small
