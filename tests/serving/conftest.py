"""Encoded images, for the tests of serving."""

import io

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def encode():
    """Encodes a random smooth image: encode(form, height, width, mode, **options)."""

    def encoded(form, height=50, width=70, mode="RGB", seed=0, **options):
        random = np.random.default_rng(seed)
        small = random.integers(0, 256, (7, 9, 3)).astype("uint8")
        image = Image.fromarray(small).resize((width, height)).convert(mode)
        file = io.BytesIO()
        image.save(file, form, **options)
        return file.getvalue()

    return encoded


@pytest.fixture(scope="session")
def rotated(encode):
    """A JPEG that its EXIF turns."""

    def encoded(orientation, **options):
        exif = Image.Exif()
        exif[0x0112] = orientation
        return encode("JPEG", exif=exif, **options)

    return encoded
