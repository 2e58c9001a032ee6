"""What a user can mend: one sentence that names the thing, the value and the mend."""

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

    For the block that builds what is registered under a name, from arguments that its
    user knows as `NAME_ARGUMENT`.

    Args:
        name: Under which it is registered, such as "walk".
        arguments: Those that the user gave.

    Raises:
        UsageError: That of the block, with the full names.
    """
    try:
        yield
    except UsageError as error:
        given = "|".join(map(re.escape, arguments)) or "(?!)"
        text = re.sub(rf"(?<![^\s(])({given})(?==)", rf"{name}_\1", str(error))
        raise UsageError(text) from error
