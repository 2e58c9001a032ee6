"""A list of images in a CSV or TSV file."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from deml_tf.config import DataConfig
from deml_tf.data.boxes import relative_box
from deml_tf.data.data_folder import data_path
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import LISTED_ROLES, Example
from deml_tf.data.existing_files import ExistingFiles
from deml_tf.data.list_files import refuse_lines
from deml_tf.data.parent_folders import resolve_parents
from deml_tf.data.regular_files import open_regular
from deml_tf.errors import DataError, UsageError


def find_list(data: DataConfig) -> list[Example]:
    """Read a list file, or the `list.csv` or `list.tsv` of a folder.

    Args:
        data: Names the file or the folder.

    Returns:
        The examples, in the order of the rows.

    Raises:
        UsageError: `data_dir` does not exist, or is a folder that holds neither of the
            two files or both.
        DataError: As for `read_list`.
    """
    where = data_path(data)
    if not where.is_dir():
        return read_list(where)
    found = [p for p in (where / "list.csv", where / "list.tsv") if p.is_file()]
    if len(found) != 1:
        raise UsageError(
            f"data_dir={where} holds {'both' if found else 'neither'} list.csv "
            f"{'and' if found else 'nor'} list.tsv; name the list file itself"
        )
    return read_list(found[0])


def read_list(path: str | os.PathLike[str]) -> list[Example]:
    """Read a CSV or TSV file with a header.

    Columns, in any order: path (relative to the folder of the list, or absolute) and
    label. Optional columns: split (train, validation, test, or query and gallery in
    place of test), and x, y, w, h, the box of the object in pixels of the image as
    stored, which is clipped to the image. Other columns are ignored.

    Args:
        path: The file: UTF-8, separated by commas, tabs or semicolons.

    Returns:
        The examples, in the order of the rows.

    Raises:
        DataError: Lines are wrong: the first one is named, and the others counted.
    """
    path = Path(path)
    examples, problems, seen = [], [], {}
    files, folder = ExistingFiles(), os.fspath(path.parent)
    columns, rows = read_rows(path, ("path", "label"))
    for line, cells in rows:
        try:
            if len(cells) != len(columns):
                raise DataError(f"{len(cells)} cells for {len(columns)} columns")
            row = dict(zip(columns, cells, strict=True))
            example = _example(row, folder)
            if problem := files.problem(example.path):
                raise DataError(problem)
            if example.path in seen:
                raise DataError(f"{row['path']} is listed in line {seen[example.path]}")
            seen[example.path] = line
            examples.append(_with_box(example, row))
        except DataError as problem:
            problems.append(f"line {line}: {problem}")
    refuse_lines(path, problems)
    if not examples:
        raise DataError(f"{path} lists no image; add rows below its header")
    return examples


def read_rows(
    path: Path, needed: Sequence[str]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the cells of a CSV or TSV file with a header.

    Args:
        path: The file: UTF-8, separated by commas, tabs or semicolons.
        needed: Columns that it must have, in lower case.

    Returns:
        The names of the columns, in lower case; and for each row that is not empty its
        line and its cells, which may be more or fewer than the columns.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    columns, rows, line = [], [], 1
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8-sig", newline="") as file:
            header = file.readline()
            separator = max(",\t;", key=header.count)
            # A blank before a quote would make it part of the cell.
            form = {"delimiter": separator, "skipinitialspace": True}
            for names in csv.reader([header], **form):
                columns = [name.strip().lower() for name in names]
            for cells in (table := csv.reader(file, **form, strict=True)):
                line = table.line_num + 1
                if any(cells):
                    rows.append((line, [cell.strip() for cell in cells]))
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); mend it, or give another file"
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}, after line {line}: {error}; save the list as UTF-8 text with a "
            "header and one image a line"
        ) from error
    _check_columns(path, columns, needed)
    return columns, rows


def _check_columns(path: Path, columns: list[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
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


def _example(row: dict[str, str], folder: str) -> Example:
    for name in ("path", "label"):
        if not row[name]:
            raise DataError(f"the {name} is empty")
    split = row.get("split", "").lower() or None
    if split and split not in LISTED_ROLES:
        known = ", ".join(LISTED_ROLES)
        raise DataError(f"split is {row['split']!r}, not one of {known}")
    path = resolve_parents(os.path.join(folder, row["path"]))
    return Example(path, row["label"], split)


def _with_box(example: Example, row: dict[str, str]) -> Example:
    cells = [row.get(name, "") for name in "xywh"]
    if not any(cells):
        return example
    box = relative_box(example.path, cells)
    return Example(example.path, example.label, example.split, box)


IMAGE_LIST = DataSet(find_list, lists_validation=True)
