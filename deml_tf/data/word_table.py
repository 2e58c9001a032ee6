"""Text files of the benchmarks: words separated by blanks, one thing a line."""

import os
from collections.abc import Sequence
from pathlib import Path

from deml_tf.errors import DataError

Row = tuple[int, list[str]]


def read_words(path: Path, columns: Sequence[str], skip: int = 0) -> list[Row]:
    """Reads the lines of a table without quotes, in which no cell holds a blank.

    Args:
        path: the file, UTF-8.
        columns: what stands in each line; their number is checked.
        skip: lines before the table, not read.

    Returns:
        Number, from 1, and words of each line that is not empty.

    Raises:
        DataError: the file cannot be read, or the first line that has more or fewer
            words, and how many more have.
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
    """Reads a text file.

    Args:
        path: the file, UTF-8.

    Returns:
        Its lines without their ends.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no UTF-8 text ({error.reason} at byte {error.start}); take the "
            "file from the data set's archive again"
        ) from error


def refuse_lines(path: str | os.PathLike[str], wrong: Sequence[str]) -> None:
    """Names the first line that is wrong, and how many more are.

    Args:
        path: the list.
        wrong: a sentence for each, such as "line 3: the label is empty".

    Raises:
        DataError: there is one.
    """
    if wrong:
        more = f" ({len(wrong) - 1} more lines are wrong)" if wrong[1:] else ""
        raise DataError(f"{path}, {wrong[0]}; correct the list{more}")
