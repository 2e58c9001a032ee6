"""Every data set becomes one list of examples; all that follows sees only that list."""

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from deml_tf.errors import DataError, UsageError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
ROLES = ("train", "validation", "test")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled picture.

    Attributes:
        path: the picture's file.
        label: name of its class.
        split: its role if the list gives one: train, validation or test.
        box: (ymin, xmin, ymax, xmax) of its object, relative to the stored picture.
    """

    path: str
    label: str
    split: str | None = None
    box: Box | None = None


def load_examples(dataset: str, data_dir: str | os.PathLike[str]) -> list[Example]:
    """Reads a data set's list of pictures, not the pictures.

    Args:
        dataset: `"folder"`: one folder a class in `data_dir` or in its `images`
            folder, in order of their names. `"list"`: a CSV or TSV file, or a folder
            holding `list.csv` or `list.tsv`; see `read_list`.
        data_dir: where it is.

    Returns:
        The examples, in an order that depends on names (folder) or rows (list) alone.

    Raises:
        UsageError: unknown `dataset`, or nothing to read at `data_dir`.
        DataError: what is there is not a data set.
    """
    readers = {"folder": _read_folder, "list": _find_list}
    if dataset not in readers:
        raise UsageError(
            f"--dataset={dataset} is unknown; use one of {', '.join(readers)}"
        )
    if not os.fspath(data_dir):
        raise UsageError(f"--dataset={dataset} needs --data_dir; name its folder")
    where = Path(data_dir).expanduser()
    if not where.exists():
        raise UsageError(f"--data_dir={data_dir} does not exist; correct the path")
    if dataset != "list" and where.is_file():
        raise UsageError(
            f"--data_dir={data_dir} is a file; give a folder for --dataset={dataset}, "
            "or use --dataset=list for a list file"
        )
    return readers[dataset](where)


def read_list(path: str | os.PathLike[str]) -> list[Example]:
    """Reads a CSV or TSV file with a header.

    Columns, in any order: path (relative to the list's folder, or absolute), label;
    optional split (train, validation or test); optional x, y, w, h: the object's box
    in pixels of the picture as stored, clipped to the picture. Others are ignored.

    Args:
        path: the file, UTF-8, separated by commas, tabs or semicolons.

    Returns:
        The examples, in the order of the rows.

    Raises:
        DataError: the first line that is wrong, and how many more are.
    """
    path = Path(path)
    examples, problems, seen = [], [], {}
    folders: dict[str, frozenset[str]] = {}
    columns, rows = _read_table(path)
    for line, cells in rows:
        try:
            if len(cells) != len(columns):
                raise DataError(f"{len(cells)} cells for {len(columns)} columns")
            row = dict(zip(columns, cells, strict=True))
            example = _example(row, path.parent)
            folder, name = os.path.split(example.path)
            if folder not in folders:
                folders[folder] = _files(folder)
            if name not in folders[folder]:
                raise DataError(f"there is no file {example.path}")
            if example.path in seen:
                raise DataError(f"{row['path']} is listed in line {seen[example.path]}")
            seen[example.path] = line
            examples.append(_with_box(example, row))
        except DataError as problem:
            problems.append(f"line {line}: {problem}")
    if problems:
        more = f" ({len(problems) - 1} more lines are wrong)" if problems[1:] else ""
        raise DataError(f"{path}, {problems[0]}; correct the list{more}")
    if not examples:
        raise DataError(f"{path} lists no picture; add rows below its header")
    return examples


def _read_folder(where: Path) -> list[Example]:
    root = where / "images"
    classes = _visible(root, folders=True) or _visible(root := where, folders=True)
    if not classes:
        raise DataError(
            f"{where} holds no class folders; put the pictures of each class into a "
            "folder of its own in there, or give another --data_dir"
        )
    examples, empty = [], []
    for label in classes:
        names = _visible(root / label, folders=False)
        names = [name for name in names if name.lower().endswith(SUFFIXES)]
        examples += [Example(str(root / label / name), label) for name in names]
        empty += [label] * (not names)
    if empty:
        # Left out silently, they would move the border between the two halves.
        more = f" (and {len(empty) - 1} more folders)" if empty[1:] else ""
        raise DataError(
            f"the class folder {root / empty[0]} holds no picture{more}; remove it or "
            f"put {', '.join(suffix[1:] for suffix in SUFFIXES)} files into it"
        )
    return examples


def _find_list(where: Path) -> list[Example]:
    if where.is_file():
        return read_list(where)
    found = [p for p in (where / "list.csv", where / "list.tsv") if p.is_file()]
    if len(found) != 1:
        raise UsageError(
            f"--data_dir={where} holds {'both' if found else 'neither'} list.csv "
            f"{'and' if found else 'nor'} list.tsv; name the list file itself"
        )
    return read_list(found[0])


def _visible(where: Path, *, folders: bool) -> list[str]:
    """Sorted names of the folders, or of the files, that are not hidden."""
    if not where.is_dir():
        return []
    with os.scandir(where) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and (entry.is_dir() if folders else entry.is_file())
        )


def _files(folder: str) -> frozenset[str]:
    """Names of a folder's files, read at once: asking for each costs far more."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Column names, and the cells of each row that is not empty with its line."""
    columns, rows, line = [], [], 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            separator = max(",\t;", key=header.count)
            for names in csv.reader([header], delimiter=separator):
                columns = [name.strip().lower() for name in names]
            for cells in (table := csv.reader(file, delimiter=separator, strict=True)):
                line = table.line_num + 1
                if any(cells):
                    rows.append((line, [cell.strip() for cell in cells]))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}, after line {line}: {error}; save the list as UTF-8 text with a "
            "header and one picture a line"
        ) from error
    _check_columns(path, columns)
    return columns, rows


def _check_columns(path: Path, columns: list[str]) -> None:
    missing = [name for name in ("path", "label") if name not in columns]
    sides = [name for name in "xywh" if name in columns]
    if missing:
        raise DataError(
            f"{path} has no column {' and no column '.join(missing)} in its first "
            f"line; begin it with a header such as path,label or path,label,split"
        )
    if len(sides) in (1, 2, 3):
        raise DataError(
            f"{path} has the column {', '.join(sides)} without the others of x, y, w, "
            "h; give all four or none"
        )
    read = ("path", "label", "split", *"xywh")
    twice = [name for name in read if columns.count(name) > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]} twice; rename one of them")


def _example(row: dict[str, str], folder: Path) -> Example:
    for name in ("path", "label"):
        if not row[name]:
            raise DataError(f"the {name} is empty")
    split = row.get("split", "").lower() or None
    if split and split not in ROLES:
        raise DataError(f"split is {row['split']!r}, not one of {', '.join(ROLES)}")
    path = os.path.normpath(os.path.join(folder, row["path"]))
    return Example(path, row["label"], split)


def _with_box(example: Example, row: dict[str, str]) -> Example:
    cells = [row.get(name, "") for name in "xywh"]
    if not any(cells):
        return example
    try:
        x, y, w, h = (float(cell) for cell in cells)
    except ValueError:
        raise DataError(
            f"x,y,w,h is {','.join(cells)}: not four numbers, nor all four empty"
        ) from None
    try:
        with Image.open(example.path) as picture:  # reads the header alone
            width, height = picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the size of {example.path} ({error})") from error
    ymin, ymax = max(y, 0.0) / height, min(y + h, height) / height
    xmin, xmax = max(x, 0.0) / width, min(x + w, width) / width
    finite = all(math.isfinite(number) for number in (x, y, w, h))
    if not (finite and ymin < ymax and xmin < xmax):
        raise DataError(
            f"the box x,y,w,h = {','.join(cells)} holds nothing of the {width} x "
            f"{height} pixels of {example.path}"
        )
    return Example(example.path, example.label, example.split, (ymin, xmin, ymax, xmax))
