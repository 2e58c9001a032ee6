"""Explains a mistake on the command line in one sentence: flag, value, remedy."""

import difflib
import os
import re
import stat
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from absl import flags

from deml_tf.errors import UsageError


def parse(
    values: flags.FlagValues,
    argv: Sequence[str],
    command: str = "this command",
    hint: str = "see --help for all",
) -> list[str]:
    """Parse a command line, with absl's complaints as one sentence each.

    Args:
        values: absl's flags; filled in.
        argv: The program's name and the arguments.
        command: The command, as messages name it.
        hint: What to do about an unknown flag.

    Returns:
        The program's name and the arguments that are not flags.

    Raises:
        UsageError: A flag is unknown or has no such value; a flagfile, named with its
            line, cannot be read, includes itself or holds something other than flags.
    """
    for argument, following in zip_longest(argv[1:], argv[2:], fillvalue=""):
        # absl also takes the file as an argument of its own.
        bare = argument in ("--flagfile", "-flagfile") and following
        _check_flagfile(f"--flagfile={following}" if bare else argument)
    try:
        return values(argv)
    except SystemExit:  # absl has printed help, which it calls a failure
        raise SystemExit(0) from None
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), 1)
        mend = "".join(f"did you mean --{name}, or " for name in near)
        raise UsageError(
            f"{error.flagvalue} is no flag of {command}: {mend}{hint}."
        ) from error
    except flags.Error as error:
        if str(error).startswith("flag "):
            raise UsageError(_illegal(values, error)) from error
        # "Missing value for flag --NAME" or "--flagfile with no argument"
        name = re.sub("Missing value for flag | with no argument", "", str(error))
        raise UsageError(f"{name} has no value: write {name}=VALUE.") from error
    except ValueError as error:  # "--noNAME=VALUE does not take an argument"
        given = str(error).partition(" does not ")[0]
        raise UsageError(
            f"{given} takes no value: write {given.partition('=')[0]}."
        ) from error


def _illegal(values: flags.FlagValues, error: flags.Error) -> str:
    """Rewrite `flag --NAME=VALUE: REASON`; a parser's reason is the context."""
    said = str(error).removeprefix("flag ")
    reason = error.__context__
    if reason is None:  # a validator's, one line for each flag
        return f"{said.splitlines()[0]}."
    given = said.removesuffix(f": {reason}")
    name = re.split("[= ]", given.removeprefix("--"))[0]
    choices = getattr(values[name].parser, "enum_values", None)
    kinds = {
        "bool": "give true or false",
        "int": "give a whole number",
        "float": "give a number",
    }
    mend = kinds.get(values[name].flag_type(), str(reason))
    if choices:
        mend = f"give {' or '.join(choices)}"
    return f"{given}: {mend}."


def _check_flagfile(argument: str, including: tuple[Path, ...] = ()) -> None:
    """Refuse what absl would ignore, misplace or end in a traceback over."""
    given = re.fullmatch(r"--?flagfile=(.+)", argument.strip())
    if not given:
        return
    path = Path(os.path.expanduser(given[1]))
    if path in including:
        raise UsageError(
            f"{including[-1]} says --flagfile={path} and so includes itself: take that "
            "line out."
        )
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise OSError(None, "it is a pipe, which is read only once")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(
            f"--flagfile={path} cannot be read ({reason}): give a text file with one "
            "--flag=value a line."
        ) from error
    try:
        path.read_text()  # as absl will
    except UnicodeDecodeError as error:
        raise UsageError(
            f"--flagfile={path} has letters that the locale's encoding, "
            f"{error.encoding}, lacks: set PYTHONUTF8=1."
        ) from error
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith(("#", "//")):
            if not line.strip().startswith("-"):
                raise UsageError(
                    f"--flagfile={path}, line {number}, is {line.strip()!r}: write "
                    "--flag=value, or # before a comment."
                )
            _check_flagfile(line, (*including, path))
