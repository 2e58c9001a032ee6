"""Pictures to try an export on: of its data set where that is at hand, else drawn."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from deml_tf.data.catalog import Example
from deml_tf.data.stored import read_bytes

_ORIENTATION = 0x0112  # EXIF's tag
_CANDIDATES = 8  # pictures looked at for each that is taken


def stored_pictures(examples: Sequence[Example], count: int) -> list[bytes]:
    """Some pictures as stored, from all over the list, small files first.

    Args:
        examples: Where to take them from.
        count: How many; fewer if the list is shorter or cannot be read.

    Returns:
        Encoded pictures.
    """
    step = max(1, len(examples) // max(1, count * _CANDIDATES))
    pictures = []
    for example in examples[::step][: count * _CANDIDATES]:
        try:
            pictures.append(read_bytes(example.path))
        except OSError:
            continue
    return sorted(pictures, key=len)[:count]


def drawn_pictures(count: int, seed: int = 0) -> list[bytes]:
    """Pictures of a few shades with a bright patch each, as JPEG.

    Args:
        count: How many.
        seed: Of what is drawn.
    """
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        height, width = (int(side) for side in random.integers(120, 260, 2))
        ground = random.integers(0, 120, (6, 8, 3)).astype(np.uint8)
        shades = Image.fromarray(ground).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        picture = np.array(shades)
        y, x = random.integers(0, height // 2), random.integers(0, width // 2)
        patch = picture[y : y + height // 3, x : x + width // 3]
        patch[:] = random.integers(120, 256, 3)
        patch[::7, ::5] = random.integers(0, 256, 3)
        pictures.append(encode(Image.fromarray(picture), "JPEG"))
    return pictures


def proof_pictures(pictures: Sequence[bytes]) -> list[bytes]:
    """Pictures of every kind that an export must treat as training does.

    Args:
        pictures: Some encoded pictures; those that Pillow cannot read play no part.

    Returns:
        Two of them as stored; made of them a JPEG, a PNG with transparency, a grey
        PNG, a GIF, a BMP, and a JPEG to be turned by its EXIF; a JPEG cut short, and
        bytes that are no picture.
    """
    kept, opened = [], []
    for picture in [*pictures, *drawn_pictures(2)]:
        try:
            opened.append(Image.open(io.BytesIO(picture)).convert("RGB"))
            kept.append(picture)
        except (OSError, ValueError, Image.DecompressionBombError):
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
        b"no picture",
    ]


def encode(picture: Image.Image, form: str, **options) -> bytes:
    """Encodes a picture as Pillow does.

    Args:
        picture: The picture.
        form: Pillow's name of the format.
        **options: Of Pillow's writer.
    """
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()
