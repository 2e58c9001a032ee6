import io

import numpy as np
import pytest
from PIL import Image

from deml_tf.reports.thumbnails import thumbnail_of


def encoded(kind="PNG", size=(60, 40), **options):
    """The file of an image whose left half is red."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2] = (250, 0, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_every_format_becomes_small(kind):
    found = thumbnail_of(encoded(kind), 30)
    assert found is not None and found.mode == "RGB" and found.size == (30, 20)
    assert found.getpixel((4, 10))[0] > 200 > 50 > found.getpixel((25, 10))[0]


def test_small_images_keep_their_size():
    found = thumbnail_of(encoded(), 500)
    assert found is not None and found.size == (60, 40)


def test_it_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    found = thumbnail_of(encoded("JPEG", exif=exif), 60)
    assert found is not None and found.size == (40, 60)
    assert found.getpixel((20, 5))[0] > 200 > 50 > found.getpixel((20, 55))[0]


def test_16_bits_are_scaled():
    file = io.BytesIO()
    Image.fromarray(np.full((9, 9), 256 * 100, np.uint16)).save(file, "PNG")
    found = thumbnail_of(file.getvalue(), 9)
    assert found is not None and found.getpixel((4, 4)) == (100, 100, 100)


@pytest.mark.parametrize(
    "wrong", [b"", b"no image", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", encoded()[:70]]
)
def test_what_is_no_image(wrong):
    assert thumbnail_of(wrong, 30) is None


def test_an_image_too_large_to_decode():
    file = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(file, "PNG")  # 144 million pixels
    assert thumbnail_of(file.getvalue(), 30) is None
