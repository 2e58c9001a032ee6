"""Find copies of images in a data set: the same bytes, or nearly the same look.

The look is a perceptual hash of 256 bits (`phash` of imagehash): the image is made grey
and scaled to 64 x 64 pixels, and each bit tells whether one of the 16 x 16 lowest
frequencies of its DCT is above their median.

Measured on 6,033 photographs of birds (Caltech-UCSD Birds 200-2010): pairs within 68
bits always show the same scene. Pairs of different scenes begin at 70 bits, at 62 if
one of them is mirrored, and double with every two bits. Copies that are re-encoded,
rescaled, stretched, turned grey, brightened, marked or cropped by 2 % per side stay
within 44 bits. The usual hash of 64 bits does not separate them: there, different
scenes lie within 6 bits, and copies cropped by 2 % up to 12 bits apart.
"""

import hashlib
import io
import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import faiss
import imagehash
import numpy as np
from PIL import Image, ImageOps

from deml_tf.cli.progress import track
from deml_tf.data.converted_formats import converted, format_of, why_not_converted
from deml_tf.data.image_bytes import read_bytes
from deml_tf.data.image_files import FORMATS
from deml_tf.data.image_header import refusal
from deml_tf.data.orientation import header_orientation

HASH_SIDE = 16  # 16 x 16 = 256 bits
NEAR = 48
"""Most bits, of 256, in which near copies differ. By the figures above, 120,000
photographs hold less than one pair of different scenes within this distance."""
MOST_PAIRS = 1_000_000
"""Pairs after which the search for near copies stops."""

_SIDE = 4 * HASH_SIDE  # pixels that phash looks at
_EVEN = 3  # grey levels: with less contrast, a hash shows only rounding errors
_DARK = 16  # grey levels: the 12 bits of a camera, stored as 16, reach no further
_BLOCK = 512  # images read at a time
_QUERIES = 64  # hashes searched for at a time: 1 GB even if all of 120,000 match


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one image from another.

    Attributes:
        problem: Why the image cannot be read; empty if it can. The other attributes are
            only set if it can.
        digest: SHA-256 of its bytes.
        width: Width in pixels, after the rotation that EXIF asks for.
        height: Height in pixels, likewise.
        kind: Format and mode as stored, such as "JPEG RGB".
        rotated: Whether EXIF asks to turn or mirror it.
        look: Its perceptual hash, 32 bytes; empty for an image of one colour, whose
            hash means nothing.
        mirrored_look: The hash of its mirror image (left to right).
        dark: Whether it is almost black.
    """

    problem: str = ""
    digest: bytes = b""
    width: int = 0
    height: int = 0
    kind: str = ""
    rotated: bool = False
    look: bytes = b""
    mirrored_look: bytes = b""
    dark: bool = False


class Pairs(NamedTuple):
    """Near pairs `first < second`, `(p,)` each, nearest first.

    `complete` is false if the search stopped early because it found too many.
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    complete: bool


def fingerprints(
    paths: Sequence[str], progress: str | None = None
) -> list[Fingerprint]:
    """Read images, several at a time, and compute their fingerprints.

    Args:
        paths: Paths of the images, as `read_bytes` takes them.
        progress: Title of a progress bar; None shows none.

    Returns:
        One for each path. An image that cannot be read has a `problem`.
    """
    found = []
    # Pillow decodes without the GIL; each thread may hold a decoded image.
    workers = min(16, len(os.sched_getaffinity(0)))
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # Pillow's, about odd files that it does read
        blocks = (paths[n : n + _BLOCK] for n in range(0, len(paths), _BLOCK))
        for block in track(blocks, progress, len(paths), size=len):
            found += pool.map(fingerprint, block)
    return found


def fingerprint(path: str) -> Fingerprint:
    """Read one image and compute its fingerprint.

    JPEG files are decoded at the smallest scale that keeps four pixels for each one
    that is hashed. That is five times as fast at 2048 x 1536 pixels, and changes at
    most 2 of 256 bits.

    Args:
        path: Path of the image, as `read_bytes` takes it.

    Returns:
        Its fingerprint, with a `problem` if it cannot be read.
    """
    try:
        stored = read_bytes(path, convert=False)
        if not stored:
            return Fingerprint(problem="the file is empty")
        data = converted(stored)
        if reason := refusal(data) or why_not_converted(data):
            return Fingerprint(problem=reason)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind = f"{format_of(stored) or image.format} {image.mode}"
            turn = header_orientation(image)
            width, height = image.size[:: -1 if turn > 4 else 1]
            image.draft("L", (4 * _SIDE, 4 * _SIDE))
            small = upright(grey(image).resize((_SIDE, _SIDE), _LANCZOS), turn)
    # Decoders raise nearly any error on broken files: an unreadable image is a finding,
    # never the end of the audit.
    except Exception as error:
        return Fingerprint(problem=_reason(error))
    looks = (b"", b"")
    levels = np.asarray(small)
    if np.ptp(levels) >= _EVEN:
        looks = perceptual_hash(small), perceptual_hash(ImageOps.mirror(small))
    digest = hashlib.sha256(stored).digest()
    dark = bool(levels.max() < _DARK)
    return Fingerprint("", digest, width, height, kind, turn > 1, *looks, dark)


def perceptual_hash(image: Image.Image) -> bytes:
    """Return the perceptual hash of an image.

    Args:
        image: An image of any size and mode.

    Returns:
        32 bytes (256 bits).
    """
    bits = imagehash.phash(image, hash_size=HASH_SIDE).hash
    return np.packbits(bits).tobytes()


def same_bytes(digests: Sequence[bytes]) -> list[list[int]]:
    """Return the groups of two or more equal digests.

    Args:
        digests: Digests of images; empty ones belong to no group.

    Returns:
        For each group the indices of its images, in order.
    """
    groups = defaultdict(list)
    for n, digest in enumerate(digests):
        groups[digest].append(n)
    groups.pop(b"", None)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(
    looks: Sequence[bytes],
    distance: int,
    *,
    mirrored_looks: Sequence[bytes] | None = None,
    most: int = MOST_PAIRS,
) -> Pairs:
    """Find every pair of hashes that differ in few bits; exact (FAISS, flat).

    Args:
        looks: n hashes of one length, a multiple of 8 bits. Empty ones have no pairs.
        distance: Most bits in which a pair differs.
        mirrored_looks: Hashes of the mirror images. With them, a pair is an image near
            the mirror image of another; the smaller of the two distances counts.
        most: Number of pairs after which the search stops.

    Returns:
        The pairs, as indices into `looks`.
    """
    known = np.flatnonzero([bool(look) for look in looks])
    if len(known) < 2:
        return Pairs(*np.empty((3, 0), np.int64), complete=True)
    stored = _array(looks, known)
    queries = stored if mirrored_looks is None else _array(mirrored_looks, known)
    index = faiss.IndexBinaryFlat(8 * stored.shape[1])
    index.add(stored)  # pyright: ignore[reportCallIssue]
    found, count, start = [], 0, 0
    while start < len(known) and count <= most:
        block = queries[start : start + _QUERIES]
        # FAISS finds what is nearer than its radius.
        limits, bits, others = index.range_search(block, distance + 1)  # pyright: ignore[reportCallIssue]
        asked = start + np.repeat(np.arange(len(block)), np.diff(limits.astype(int)))
        # The mirrored hash is not an exact function of the hash: ask from both sides.
        keep = asked < others if mirrored_looks is None else asked != others
        ends = np.sort(np.stack([asked[keep], others[keep]]), axis=0)  # (2, p)
        found.append(np.vstack([ends, bits[keep].astype(np.int64)]))
        count += found[-1].shape[1]
        start += _QUERIES
    first, second, bits = np.hstack(found)
    order = np.lexsort((bits, second, first))
    first, second, bits = first[order], second[order], bits[order]
    once = np.ones(len(first), bool)  # keep the nearer of a pair found from both sides
    once[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    first, second, bits = first[once], second[once], bits[once]
    order = np.argsort(bits, kind="stable")
    return Pairs(
        known[first[order]], known[second[order]], bits[order], start >= len(known)
    )


_LANCZOS = Image.Resampling.LANCZOS


def grey(image: Image.Image) -> Image.Image:
    """Return the image in 8-bit grey; from 16 bits, the upper 8 are kept."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip, not scale
        return Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    return image.convert("L")


def upright(image: Image.Image, turn: int) -> Image.Image:
    """Turn an image as its EXIF orientation (1 to 8) asks."""
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turned[turn]) if turn in turned else image


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, Image.UnidentifiedImageError):
        text = "no image of a known format"
    return " ".join(str(text).split()).rstrip(".")


def _array(looks: Sequence[bytes], known: np.ndarray) -> np.ndarray:
    """Return the known hashes as rows `(n, bytes)`, uint8."""
    rows = b"".join(looks[n] for n in known)
    return np.frombuffer(rows, np.uint8).reshape(len(known), -1)
