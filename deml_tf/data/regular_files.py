"""Open regular files: no pipe, device or socket, and none too large for the memory.

Opening a pipe may wait for ever, and so may reading it; a device may never end.
"""

import errno
import os
import stat
import sys
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, errno.EISDIR, "it is a folder"),
    (stat.S_ISFIFO, errno.EINVAL, "it is a pipe, not a file"),
    (stat.S_ISSOCK, errno.EINVAL, "it is a socket, not a file"),
    (stat.S_ISCHR, errno.EINVAL, "it is a device, not a file"),
    (stat.S_ISBLK, errno.EINVAL, "it is a device, not a file"),
)


def stat_regular(
    path: str | os.PathLike[str], most_bytes: int = sys.maxsize
) -> os.stat_result:
    """Return the status of a file, if it can be read without hanging or filling memory.

    Args:
        path: The file.
        most_bytes: The size above which it is refused; by default none.

    Returns:
        Its status.

    Raises:
        OSError: It does not exist, or is a folder, a pipe, a socket, a device or too
            large; `strerror` says which.
    """
    try:
        status = os.stat(path)
    except ValueError as error:  # a null byte, or another impossible name
        words = f"no file has such a name: {error}"
        raise OSError(errno.EINVAL, words, os.fspath(path)) from error
    for is_kind, number, words in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(number, words, os.fspath(path))
    if status.st_size > most_bytes:
        words = f"it is larger than {most_bytes >> 20} MiB"
        raise OSError(errno.EFBIG, words, os.fspath(path))
    return status


def open_regular(
    path: str | os.PathLike[str], most_bytes: int = sys.maxsize
) -> BinaryIO:
    """Open a file, if it can be read without hanging or filling the memory.

    Args:
        path: The file.
        most_bytes: The size above which it is refused; by default none.

    Returns:
        The file, open for reading.

    Raises:
        OSError: As `stat_regular`, or reading it is not permitted.
    """
    stat_regular(path, most_bytes)
    # Even if it has become a pipe by now, this does not wait.
    return open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK))
