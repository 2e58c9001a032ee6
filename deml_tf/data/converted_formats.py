"""Images in formats that TensorFlow cannot read, converted to PNG when they are read.

TIFF, AVIF and JPEG 2000 are decoded by Pillow, HEIC (from phones) by a plug-in that the
extra `formats` installs. This module needs no TensorFlow.
"""

import contextlib
import importlib.metadata
import importlib.util
import io
import math
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, features

from deml_tf.data.image_limits import MOST_PIXELS

_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_JPEG_2000 = b"\0\0\0\x0cjP  "
_PLUG_IN = "pi_heif"
_LARGE = 20_000_000  # pixels: 60 MB, and as much again while it is turned or converted
_LARGE_TURN = threading.Semaphore(1)
_FILTERS = contextlib.ExitStack()
_FILTERS_TURN = threading.Lock()
_inside = 0  # threads that are silencing Pillow's warnings

HEADS = r"(II[*+]\x00|MM\x00[*+]|\x00\x00\x00\x0cjP  |\C{4}ftyp)\C*"
"""RE2 pattern of the first 12 bytes of such files, and of a few others."""


def converted(encoded: bytes) -> bytes:
    """Convert an image of such a format to PNG.

    The result is the first image of the file, turned upright, with 8 bits per channel
    (the upper eight of 16). Transparency is dropped, and colour profiles are not
    applied, as for the formats that are read directly. Threads take turns at images
    above 20 million pixels.

    Args:
        encoded: The image's file; any bytes at all.

    Returns:
        A PNG file; the same bytes if they are not of such a format, or if they cannot
        be converted, which shows when they are decoded.
    """
    if not format_of(encoded):
        return encoded
    try:
        return _png(encoded)
    except Exception:  # Pillow's parsers raise a dozen kinds of error on damaged files
        return encoded


def why_not_converted(encoded: bytes) -> str:
    """Say why an image that has to be converted cannot be.

    Args:
        encoded: The image's file; any bytes at all.

    Returns:
        The reason, in words; empty if it can be converted or need not be.
    """
    name = format_of(encoded)
    if not name:
        return ""
    try:
        _png(encoded)
    except _NotConverted as error:
        return str(error)
    except Exception:
        return f"it begins as {name}, but cannot be decoded"
    return ""


def format_of(encoded: bytes) -> str:
    """Name the format of an image that has to be converted.

    Args:
        encoded: The image's file, or its first 12 bytes; any bytes at all.

    Returns:
        TIFF, AVIF, HEIC or JPEG 2000; empty if it begins like none of them.
    """
    if encoded.startswith(_TIFF):
        return "TIFF"
    if encoded.startswith(_JPEG_2000):
        return "JPEG 2000"
    brand = encoded[8:12] if encoded[4:8] == b"ftyp" else b""
    return "AVIF" if brand in _AVIF else "HEIC" if brand in _HEIC else ""


def register_plug_ins() -> bool:
    """Have Pillow open HEIC files too.

    Returns:
        False if the plug-in is not installed.
    """
    try:
        importlib.import_module(_PLUG_IN).register_heif_opener()
    except ImportError:
        return False
    return True


def decoders() -> str:
    """Name the decoders of these formats: what one decodes, another may not."""
    # Older versions do not know the word "avif", and warn about it.
    avif = "-avif" if "avif" in features.modules and features.check("avif") else ""
    heic = f"-heic{_version(_PLUG_IN)}" if importlib.util.find_spec(_PLUG_IN) else ""
    return f"pillow{Image.__version__}{avif}{heic}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


class _NotConverted(ValueError):
    """Says why an image is left as it is."""


def _png(encoded: bytes) -> bytes:
    if format_of(encoded) == "HEIC" and not register_plug_ins():
        raise _NotConverted('it is HEIC, which needs pip install "deml_tf[formats]"')
    with _quiet(), Image.open(io.BytesIO(encoded)) as image:
        pixels = math.prod(image.size)
        if pixels > MOST_PIXELS:
            raise _NotConverted(
                f"it has more than {MOST_PIXELS // 10**6} million pixels"
            )
        file = io.BytesIO()
        with _LARGE_TURN if pixels > _LARGE else contextlib.nullcontext():
            ImageOps.exif_transpose(image, in_place=True)
            _rgb(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings, and no others.

    All threads share the filters: the first thread in sets them, the last one out
    restores them.
    """
    global _inside
    with _FILTERS_TURN:
        if not _inside:
            _FILTERS.enter_context(warnings.catch_warnings())
            # They concern sizes below our own limit, and odd metadata that is not used.
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _inside += 1
    try:
        yield
    finally:
        with _FILTERS_TURN:
            _inside -= 1
            if not _inside:
                _FILTERS.close()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _NotConverted("its samples have 32 bits, not 8 or 16")
    return image if image.mode == "RGB" else image.convert("RGB")
