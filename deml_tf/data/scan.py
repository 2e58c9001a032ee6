"""Find images that cannot be read before a run begins, instead of in its middle."""

import contextlib
import csv
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from PIL import Image

from deml_tf.cli.error_text import why_not
from deml_tf.cli.printing import cell, say, so_many
from deml_tf.cli.progress import track
from deml_tf.data.converted_formats import decoders, why_not_converted
from deml_tf.data.decoding import decode_as_stored
from deml_tf.data.disk_cache import DiskCache, file_state
from deml_tf.data.image_bytes import (
    containing_file,
    read_bytes,
    read_record,
    shard_place,
    stat_image,
)
from deml_tf.data.image_files import FORMATS
from deml_tf.data.image_header import refusal
from deml_tf.data.images import first_of
from deml_tf.data.splits import ROLES, Split, roles_without_pairs
from deml_tf.errors import DataError
from deml_tf.runs.atomic import write_atomically

_AT_ONCE = 256  # images between two writes to the cache
_MOST_THREADS = 16  # each may hold a decoded image


def cache_name() -> str:
    """Return the name of the cache of which images can be decoded here."""
    # With another decoder, or another rule of what is bad (then raise the number),
    # images are judged anew.
    return f"scan-6-tf{tf.__version__}-{decoders()}"


class _Verdict(NamedTuple):
    """Why an image is bad ("" if it is good), and whether this can be remembered."""

    reason: str
    lasts: bool = True


def take_out_bad(
    split: Split, bad_images: str, listing: Path, writes: bool = True
) -> Split:
    """Check every image of a split, and list those that cannot be read.

    Args:
        split: All images that the run will read.
        bad_images: "fail" or "skip".
        listing: CSV file for path and reason of each bad image; removed if there is
            none.
        writes: Whether to write the listing; of several workers only the first does.

    Returns:
        The split without the bad images.

    Raises:
        DataError: Some are bad and `bad_images` is "fail", or too few are left.
    """
    paths = [example.path for role in ROLES for example in getattr(split, role)]
    bad = find_bad(paths)
    if writes and not bad and os.path.lexists(listing):  # its disk may be read-only
        listing.unlink(missing_ok=True)
    if not bad:
        return split
    if writes:
        _write(bad, listing)
    if bad_images == "fail":
        raise DataError(
            f"cannot read the image {first_of(bad)}, of {len(set(paths))}; "
            f"mend or remove what {listing} lists, or give bad_images=skip"
        )
    are, they = ("is", "it") if len(bad) == 1 else ("are", "they")
    say(
        f"{len(bad):,} of {len(set(paths)):,} images {are} left out because {they} "
        f"cannot be read; see {listing}."
    )
    kept = {
        role: tuple(e for e in getattr(split, role) if e.path not in bad)
        for role in ROLES
    }
    for role, examples in kept.items():
        classes = {example.label for example in examples}
        if getattr(split, role) and len(classes) < 2:
            raise DataError(
                f"bad_images=skip leaves {so_many(len(classes), 'class', 'classes')} "
                f"to {role}, which needs two or more; mend what {listing} lists"
            )
    left = Split(**kept)
    for role in roles_without_pairs(left):
        raise DataError(
            f"bad_images=skip leaves no image of {role} another of its class to find; "
            f"mend what {listing} lists"
        )
    return left


def refuse_bad(paths: Iterable[str]) -> None:
    """Refuse images that cannot be read.

    Args:
        paths: Paths of the images.

    Raises:
        DataError: Some are bad: the first is named with the reason, the others counted.
    """
    bad = find_bad(paths)
    if bad:
        raise DataError(
            f"cannot read the image {first_of(bad)}; replace the file or take it out "
            "of the data set"
        )


def find_bad(paths: Iterable[str]) -> dict[str, str]:
    """Find the images that a run could not read.

    Each image is read and decoded once, several at a time, with a progress bar. The
    result is remembered by path, size and times.

    Args:
        paths: Paths of the images. A path given twice is checked once.

    Returns:
        The reason for each bad image, by path, in the order of the paths.
    """
    found, unknown = {}, []
    with DiskCache(cache_name()) as cache:
        for path in dict.fromkeys(paths):
            status, found[path] = _look(path)
            if status:
                state = file_state(status)
                known = cache.get(_key(path), state)
                found[path] = known.decode() if known else ""
                if known is None:
                    unknown.append((path, state))
        judged = _judge_all([path for path, _ in unknown])
        news = []
        for (path, state), verdict in zip(
            unknown, track(judged, "checking images", len(unknown)), strict=True
        ):
            found[path] = verdict.reason
            if verdict.lasts:
                news.append((_key(path), state, verdict.reason.encode()))
            if len(news) == _AT_ONCE:
                cache.put(news)
                news = []
        cache.put(news)
    return {path: reason for path, reason in found.items() if reason}


def why_bad(encoded: bytes) -> str:
    """Say why an image could not be read by a run.

    Args:
        encoded: The image's file.

    Returns:
        The reason; empty if the image is good.
    """
    with _quiet():
        return _judge_bytes(encoded).reason


def _key(path: str) -> bytes:
    # As bytes: a file's name need not be UTF-8.
    return os.fsencode(os.path.abspath(path))


def _look(path: str) -> tuple[os.stat_result | None, str]:
    """Return the status of a file, or None and what is wrong with it."""
    try:
        status = stat_image(path)
    except OSError as error:
        return None, str(error.strerror)
    if not os.access(containing_file(path), os.R_OK):
        return None, "Permission denied"
    return status, ""


def _judge_all(paths: list[str]) -> Iterator[_Verdict]:
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    with _quiet(), ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            yield from pool.map(_judge, paths[start : start + _AT_ONCE])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings."""
    with warnings.catch_warnings():
        # They concern sizes below our own limit, and odd metadata that is not used.
        warnings.simplefilter("ignore")
        yield


def _judge(path: str) -> _Verdict:
    try:
        encoded = read_bytes(path)
        if shard_place(path):  # training does not verify its checksum
            with tf.device("CPU:0"):
                read_record(os.fsencode(path))
    except OSError as error:
        return _Verdict(str(error.strerror), lasts=False)
    except tf.errors.DataLossError as error:
        return _Verdict(why_not(error))
    except tf.errors.OpError as error:  # the disk may recover
        return _Verdict(why_not(error), lasts=False)
    except MemoryError:
        return _Verdict("it does not fit into memory", lasts=False)
    return _judge_bytes(encoded)


def _judge_bytes(encoded: bytes) -> _Verdict:
    if not encoded:
        return _Verdict("it is empty")
    if reason := why_not_converted(encoded):
        return _Verdict(reason, lasts=False)  # the plug-in may be installed later
    try:
        with tf.device("CPU:0"):
            if reason := refusal(encoded):
                return _Verdict(reason)
            _decodes(encoded)
    except tf.errors.ResourceExhaustedError as error:
        return _Verdict(why_not(error), lasts=False)
    except tf.errors.OpError as error:
        return _Verdict(_kind(encoded) or why_not(error))
    return _Verdict("")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _decodes(encoded: Any) -> Any:
    return tf.shape(decode_as_stored(encoded))


def _kind(encoded: bytes) -> str:
    """Name a format that Pillow knows and TensorFlow does not."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            kind = str(image.format)
    except Exception:  # its parsers raise a dozen kinds of error on damaged files
        return ""
    if kind in (*FORMATS, "MPO"):
        return ""
    return f"it is {kind}, a format that is not read"


def _write(bad: dict[str, str], listing: Path) -> None:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["path", "reason"])
    table.writerows((cell(path), cell(reason)) for path, reason in bad.items())
    write_atomically(listing, text.getvalue().encode())
