"""The only place that reads the text of errors.

TensorFlow, HDF5 and absl report some things only in their messages. And messages of the
library, which name arguments, become messages of the command line, which name flags.
"""

import errno
import os
import re
from collections.abc import Iterable

import tensorflow as tf

from deml_tf.errors import DataError

_FULL = [os.strerror(n) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
# HDF5 also raises RuntimeError, if it fails while closing a file.
_DISK_ERRORS = (OSError, RuntimeError, tf.errors.OpError)
# How TensorFlow's collective operations end when a task stops sending heartbeats,
# disappears in the middle of one, or reports an error of its own.
COLLECTIVE_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.FailedPreconditionError,
)
_COLLECTIVE_WORDS = (
    "ollective",
    "heartbeat",
    "unhealthy",
    "/job:",
    "coordinat",
    "failed to con",
)


def sentence(error: BaseException, names: Iterable[str]) -> str:
    """Return the message of a library function in the words of the command line.

    Functions name their arguments, `width=2`; where there is a flag for an argument,
    the user reads `--width=2`. A full stop at the end is added if it is missing.

    Args:
        error: What was raised.
        names: Names of the flags.
    """
    argument = rf"(?<![^\s(])({'|'.join(map(re.escape, names))})(?==)"
    return re.sub(argument, r"--\1", str(error)).rstrip(".") + "."


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error's message, without its full stop."""
    text = " ".join(str(error).split())
    return text.partition(". ")[0].rstrip(".: ")


def why_not(error: tf.errors.OpError) -> str:
    """Return the sentence in TensorFlow's message, without what surrounds it.

    Args:
        error: Error of an operation, eager or in a graph.

    Returns:
        One line without a full stop.
    """
    message = str(error.message).partition("\n\t [[")[0].partition(" [Op:")[0]
    lines = re.sub(r"\{\{.*?\}\} ", "", message).split("\n")  # graphs' and nodes' names
    line = next((line for line in reversed(lines) if line.strip()), "")
    # Without the list of formats, and as one sentence.
    return line.partition(". One of ")[0].rstrip(".").replace(". ", ": ")


def no_room(error: BaseException) -> str | None:
    """Find a full disk, quota or file-size limit behind an error.

    TensorFlow and HDF5 report it only in their messages, and libraries raise other
    errors while they clean up after it.

    Args:
        error: What was raised.

    Returns:
        The system's words for it, such as "No space left on device"; None if it is
        something else.
    """
    for link in _chain(error):
        for words in _FULL:
            if isinstance(link, _DISK_ERRORS) and words in str(link):
                return words
    return None


def explain_disk(error: BaseException) -> DataError | None:
    """Say in one sentence that the disk has no room, or denies access to a file.

    Args:
        error: What was raised.

    Returns:
        The sentence as an error, or None if the disk is not to blame.
    """
    words = no_room(error)
    if words:
        places = [getattr(link, "filename", None) for link in _chain(error)]
        place = next((f" {os.fsdecode(p)}" for p in places if p), "")
        return DataError(
            f"there is no room to write{place} ({words}); what was saved before is "
            "whole: free space and give the same command again"
        )
    if isinstance(error, OSError) and error.errno in _CLOSED and error.filename:
        return DataError(
            f"{os.fsdecode(error.filename)} cannot be read or written "
            f"({error.strerror}): change its permissions, or name another place"
        )
    return None


def explain_memory(error: BaseException) -> DataError | None:
    """Say in one sentence that memory ran out, the machine's or a GPU's.

    Args:
        error: What was raised.

    Returns:
        The sentence as an error, or None if memory is not to blame.
    """
    if isinstance(error, tf.errors.ResourceExhaustedError):
        why = why_not(error)
    elif isinstance(error, MemoryError):
        why = first_sentence(error)
    else:
        return None
    return DataError(
        f"memory ran out{why and f' ({why})'}; what was saved before is whole: take "
        "fewer or smaller images at once"
    )


def is_lost(error: BaseException) -> bool:
    """Return whether a collective operation ended because another worker is gone."""
    return isinstance(error, COLLECTIVE_ERRORS) and any(
        words in str(error) for words in _COLLECTIVE_WORDS
    )


def service_error(error: tf.errors.OpError) -> DataError | None:
    """Find what `through_service` raised in the error that TensorFlow makes of it."""
    found = re.search(r"DataError: (data_service=.+)", str(error))
    return DataError(found.group(1)) if found else None


def _chain(error: BaseException | None) -> list[BaseException]:
    """List the error, what it came from, and so on."""
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
