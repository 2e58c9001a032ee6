"""The error message for a file that cannot be read."""

import errno

from deml_tf.errors import DataError


def unreadable(named: object, error: Exception, mend: str) -> DataError:
    """Say why a file cannot be read, and what to do.

    Args:
        named: The file, or what it belongs to.
        error: What reading raised.
        mend: What to do if it is missing or damaged. It is not said if the system
            refuses to read the file, which may be whole.
    """
    reason = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
        reason, mend = (
            str(error.strerror),
            "see to it that it can be, and give the same command again",
        )
    return DataError(f"{named} cannot be read ({reason}): {mend}.")
