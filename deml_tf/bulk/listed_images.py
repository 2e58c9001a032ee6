"""The images to embed: from a folder, a list or a pattern, in a fixed order."""

import fnmatch
import glob
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deml_tf.cli.printing import say
from deml_tf.data.image_files import (
    SUFFIXES,
    Found,
    count_left_out,
    is_hidden,
    is_image,
    look_into,
)
from deml_tf.data.list_files import refuse_lines
from deml_tf.data.parent_folders import resolve_parents
from deml_tf.data.sets.image_list import read_rows
from deml_tf.errors import DataError, UsageError


class ListedImage(NamedTuple):
    """An image to embed.

    Attributes:
        path: Absolute path of its file.
        label: Its class; None if that is not known.
    """

    path: str
    label: str | None


def list_images(images: str) -> list[ListedImage]:
    """List the images of a folder, a list file or a pattern.

    A folder is searched at any depth. Images in a folder below it have that folder's
    name as label, and those directly in it have none; for a pattern, its beginning
    without wildcards counts as the folder.

    Args:
        images: A folder; a CSV or TSV file with a header and the column path (relative
            to the list's folder, or absolute), and label if there are labels; or a
            pattern with *, ? or [], and ** for any depth. Files of a folder or pattern
            that are not images are left out, and counted on the terminal; images of a
            list may be missing.

    Returns:
        The images, in the order of the list, or else sorted by name.

    Raises:
        UsageError: There is no such folder or file, or no image.
        DataError: A list has wrong lines, or none of its images exists.
    """
    if os.path.isdir(images):
        images = resolve_parents(images)
        return _labelled(look_into(images), images, images)
    if os.path.isfile(images) and not is_image(images):
        return _read_list(Path(images))
    if not glob.has_magic(images) and not os.path.lexists(images):
        raise UsageError(
            f"images={images} does not exist: name a folder, a list or a pattern."
        )
    given = _beginning(images)
    beginning = resolve_parents(given)
    found = Found([], [])
    for path in _matching(os.path.join(beginning, Path(images).relative_to(given))):
        below = Path(path).relative_to(beginning).parts
        is_taken = is_image(path) and not any(map(is_hidden, below))
        (found.images if is_taken else found.left_out).append(path)
    return _labelled(found, images, beginning)


def _labelled(found: Found, images: str, folder: str) -> list[ListedImage]:
    if not found.images:
        raise UsageError(
            f"images={images} holds no images ({', '.join(SUFFIXES)}): name another "
            "folder, list or pattern."
        )
    if found.left_out:
        say(count_left_out(found.left_out))
    root = os.path.abspath(folder)
    return [_with_folder(path, root) for path in map(os.path.abspath, found.images)]


def _with_folder(path: str, root: str) -> ListedImage:
    folder = os.path.dirname(path)
    label = None if folder == root else sys.intern(os.path.basename(folder))
    return ListedImage(path, label)


def _beginning(pattern: str) -> str:
    """Return the folders of a pattern before the first one with a wildcard."""
    parts = Path(pattern).parent.parts
    wild = (n for n, part in enumerate(parts) if glob.has_magic(part))
    return os.fspath(Path(*parts[: next(wild, None)]))


def _matching(pattern: str) -> Iterator[str]:
    """Find what matches a pattern; below ** the rules for folders apply."""
    parts = Path(pattern).parts
    if "**" not in parts:
        for path in sorted(glob.glob(pattern)):
            if not os.path.isdir(path):
                yield path
        return
    first = parts.index("**")
    places = sorted(glob.glob(os.path.join(*parts[:first]))) if first else [os.curdir]
    for place in filter(os.path.isdir, places):
        for path in itertools.chain(*look_into(place)):
            if _matches(Path(path).relative_to(place).parts, parts[first:]):
                yield path


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not names
    first, *others = pattern
    if first == "**":
        return any(_matches(names[n:], others) for n in range(len(names) + 1))
    is_like = bool(names) and fnmatch.fnmatchcase(names[0], first)
    return is_like and _matches(names[1:], others)


def _read_list(path: Path) -> list[ListedImage]:
    columns, rows = read_rows(path, ("path",))
    folder = os.path.abspath(path.parent)
    images, problems = [], []
    for line, cells in rows:
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns):
            problems.append(
                f"line {line}: {len(cells)} cells for {len(columns)} columns"
            )
        elif not row["path"]:
            problems.append(f"line {line}: the path is empty")
        else:
            place = resolve_parents(os.path.join(folder, row["path"]))
            label = row.get("label")
            images.append(ListedImage(place, sys.intern(label) if label else None))
    refuse_lines(path, problems)
    _refuse_nothing(path, images)
    return images


def _refuse_nothing(path: Path, images: Iterable[ListedImage]) -> None:
    first = next(iter(images), None)
    if first is None:
        raise DataError(f"{path} lists no image; add rows below its header")
    if not any(os.path.lexists(image.path) for image in images):
        raise DataError(
            f"none of the images that {path} lists exists, such as {first.path}; "
            "write paths relative to the folder of the list, or absolute ones"
        )
