"""Read the text files in which benchmarks list their images."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from deml_tf.data.regular_files import open_regular
from deml_tf.errors import DataError

Row = tuple[int, list[str]]


def read_table(path: Path, columns: Sequence[str], skip: int = 0) -> list[Row]:
    """Read a table whose cells hold no blanks and are separated by blanks.

    Args:
        path: The file, UTF-8.
        columns: Names of the columns; every line must have as many words.
        skip: Number of lines before the table.

    Returns:
        For each line that is not empty, its number (from 1) and its words.

    Raises:
        DataError: The file cannot be read, or lines have more or fewer words.
    """
    rows, wrong = [], []
    for n, line in enumerate(read_lines(path)[skip:], skip + 1):
        words = line.split()
        if len(words) == len(columns):
            rows.append((n, words))
        elif words:
            wrong.append(
                f"line {n}: {len(words)} words for {len(columns)} columns "
                f"({' '.join(columns)})"
            )
    refuse_lines(path, wrong)
    return rows


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file.

    Args:
        path: The file, UTF-8.

    Returns:
        Its lines without line ends.

    Raises:
        DataError: The file cannot be read, or is not text.
    """
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8-sig") as file:
            return file.read().split("\n")
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); mend it, or give another file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no UTF-8 text ({error.reason} at byte {error.start}); take the "
            "file from the data set's archive again"
        ) from error


def refuse_lines(path: str | os.PathLike[str], wrong: Sequence[str]) -> None:
    """Refuse a file with wrong lines: name the first and count the others.

    Args:
        path: The file.
        wrong: A sentence for each wrong line, such as "line 3: the label is empty".

    Raises:
        DataError: There is at least one.
    """
    if wrong:
        more = f" ({len(wrong) - 1} more lines are wrong)" if wrong[1:] else ""
        raise DataError(f"{path}, {wrong[0]}; correct the list{more}")
