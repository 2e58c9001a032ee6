"""What the disk refuses, told as what it is, whichever library met it."""

import errno
import os

import tensorflow as tf

from deml_tf.errors import DataError

_FULL = [os.strerror(n) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
# HDF5 also raises RuntimeError, where it notices on closing a file.
_KINDS = (OSError, RuntimeError, tf.errors.OpError)


def no_room(error: BaseException) -> str | None:
    """Finds a full disk, quota or file-size limit behind an error.

    TensorFlow and HDF5 tell of it in their messages alone, and libraries raise other
    errors while they tidy up after it.

    Args:
        error: what was raised.

    Returns:
        The system's words for it, such as "No space left on device"; None if it is
        something else.
    """
    for link in _chain(error):
        for words in _FULL:
            if isinstance(link, _KINDS) and words in str(link):
                return words
    return None


def explain_disk(error: BaseException) -> DataError | None:
    """One sentence for what a disk refuses: room, or the right to read or write.

    Args:
        error: what was raised.

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


def _chain(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
