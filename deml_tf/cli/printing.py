"""Names and messages as they leave the program: as nothing but text.

A file's name may hold bytes that are not UTF-8, line ends, and escapes that move a
terminal's cursor. It is printed and written with all of these spelled out.
"""

import re
import sys
from typing import TextIO

_FORMULA = ("=", "+", "-", "@")  # beginnings of cells that a spreadsheet computes


def decodable(text: str) -> str:
    r"""Return a text that every encoding of Unicode can write.

    Args:
        text: May hold undecodable bytes, as Python keeps them in file names.

    Returns:
        The text with each such byte spelled out, as in `caf\xe9`.
    """
    return re.sub("[\ud800-\udfff]", lambda found: _spelled(found[0]), text)


def printable(text: str) -> str:
    r"""Return a text on one line that no terminal takes for a command.

    Args:
        text: A name or a message.

    Returns:
        The text with line ends, control characters, invisible ones and undecodable
        bytes spelled out, as in `a\nb`.
    """
    return "".join(c if c.isprintable() else _spelled(c) for c in text)


def cell(text: str) -> str:
    """Return a text as a cell of a CSV file that is not a formula.

    Args:
        text: A name.

    Returns:
        The printable text, behind an apostrophe if a spreadsheet would compute it.
    """
    return "'" * text.startswith(_FORMULA) + printable(text)


def so_many(number: int, one: str, several: str) -> str:
    """Return a number with its noun, as in `1 image` and `1,000 images`.

    Args:
        number: How many there are.
        one: What one of them is called.
        several: What any other number of them is called.
    """
    return f"{number:,} {one if number == 1 else several}"


def say(line: str, file: TextIO | None = None) -> None:
    """Print a text as exactly one line, and flush it.

    Args:
        line: What to say.
        file: Where to; None, the default, is the standard output.
    """
    print(printable(line), file=file or sys.stdout, flush=True)


def _spelled(character: str) -> str:
    byte = ord(character) - 0xDC00  # how Python keeps a byte that is not UTF-8
    if 0x80 <= byte <= 0xFF:
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode()
