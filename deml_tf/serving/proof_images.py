"""Images to try an export on: from its data set if that is at hand, else drawn."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from deml_tf.data.example import Example
from deml_tf.data.image_bytes import read_bytes

_ORIENTATION = 0x0112  # EXIF's tag
_CANDIDATES = 8  # images considered for each that is taken


def stored_images(examples: Sequence[Example], count: int) -> list[bytes]:
    """Read some images as stored, from all over the list, small files first.

    Args:
        examples: Examples to choose from.
        count: Number of images; fewer if the list is shorter or some cannot be read.

    Returns:
        Encoded images.
    """
    looked_at = min(len(examples), count * _CANDIDATES)
    images = []
    for place in np.linspace(0, len(examples) - 1, looked_at).astype(int):
        try:
            images.append(read_bytes(examples[place].path))
        except OSError:
            continue
    return sorted(images, key=len)[:count]


def drawn_images(count: int, seed: int = 0) -> list[bytes]:
    """Draw images of a few shades with a bright patch each, as JPEG.

    Args:
        count: Number of images.
        seed: Seed of the random numbers, by default 0.
    """
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        height, width = (int(side) for side in random.integers(120, 260, 2))
        ground = random.integers(0, 120, (6, 8, 3)).astype(np.uint8)
        shades = Image.fromarray(ground).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        image = np.array(shades)
        y, x = random.integers(0, height // 2), random.integers(0, width // 2)
        patch = image[y : y + height // 3, x : x + width // 3]
        patch[:] = random.integers(120, 256, 3)
        patch[::7, ::5] = random.integers(0, 256, 3)
        images.append(encode(Image.fromarray(image), "JPEG"))
    return images


def proof_images(images: Sequence[bytes]) -> list[bytes]:
    """Make an image of every kind that an export must treat as training does.

    Args:
        images: Some encoded images; those that Pillow cannot read are not used.

    Returns:
        Two of them as stored; made from them a JPEG, a PNG with transparency, a grey
        PNG, a GIF, a BMP, and a JPEG to be turned by its EXIF; a JPEG cut short, and
        bytes that are not an image.
    """
    kept, opened = [], []
    for image in [*images, *drawn_images(2)]:
        try:
            opened.append(Image.open(io.BytesIO(image)).convert("RGB"))
            kept.append(image)
        except Exception:  # Pillow's parsers raise a dozen error types on damaged files
            continue
        if len(kept) == 2:
            break
    landscape, portrait = opened[0].resize((140, 100)), opened[1].resize((90, 130))
    turned = Image.Exif()
    turned[_ORIENTATION] = 6
    jpeg = encode(landscape, "JPEG")
    alpha = portrait.convert("RGBA")
    alpha.putalpha(portrait.convert("L"))
    return [
        *kept,
        jpeg,
        encode(landscape, "JPEG", exif=turned),
        jpeg[: len(jpeg) // 3],
        encode(alpha, "PNG"),
        encode(portrait.convert("L"), "PNG"),
        encode(portrait, "GIF"),
        encode(landscape, "BMP"),
        b"no image",
    ]


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    """Encode an image as Pillow does.

    Args:
        image: The image.
        form: Pillow's name of the format.
        **options: Options of Pillow's writer.
    """
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
