"""Errors that a user can correct: one sentence names the thing, value and remedy."""

import contextlib
import re
from collections.abc import Iterable, Iterator


class UsageError(ValueError):
    """An argument is wrong. Commands exit with status 2."""


class DataError(ValueError):
    """Something on disk is wrong: images, lists, weights. Commands exit with 1."""


@contextlib.contextmanager
def arguments_of(name: str, arguments: Iterable[str]) -> Iterator[None]:
    """Have a UsageError say `walk_steps=0` where the block says `steps=0`.

    For a block that builds the class registered under a name, from arguments that the
    user knows as `NAME_ARGUMENT`.

    Args:
        name: Name under which it is registered, such as "walk".
        arguments: Names of the arguments that the user gave.

    Raises:
        UsageError: That of the block, with the full names.
    """
    try:
        yield
    except UsageError as error:
        given = "|".join(map(re.escape, arguments)) or "(?!)"
        text = re.sub(rf"(?<![^\s(])({given})(?==)", rf"{name}_\1", str(error))
        raise UsageError(text) from error
