"""Encoded images of every format, for tests that read them."""

import io

import numpy as np
from PIL import Image


def encode(form, height=50, width=70, mode="RGB", seed=0, **options):
    """A random smooth image as a file; options are of Pillow's writer."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (7, 9, 3)).astype("uint8")
    image = Image.fromarray(small).resize((width, height)).convert(mode)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def rotated(orientation, **options):
    """A JPEG that its EXIF turns."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode("JPEG", exif=exif, **options)
