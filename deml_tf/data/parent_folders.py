"""The folder that .. means."""

import os
from pathlib import Path


def resolve_parents(path: str | os.PathLike[str]) -> str:
    """Resolve each .. that follows a folder in a path; the folder may be a link.

    After a link, .. is the folder above the link's target. The system reads a path in
    this way; shortening its text would name another folder.

    Args:
        path: A path; it need not exist.

    Returns:
        A path of the same file, without . and double slashes. Only the part up to such
        a link is resolved.
    """
    found = ""
    for part in Path(path).parts:
        if part != os.pardir or os.path.basename(found) in ("", os.pardir):
            above_the_root = part == os.pardir and found == os.sep
            found = found if above_the_root else os.path.join(found, part)
        else:
            whole = os.path.realpath(found) if os.path.islink(found) else found
            found = os.path.dirname(whole)
    return found or os.curdir
