"""Finds the files of a published data set below the folder that a user names."""

from collections.abc import Sequence
from pathlib import Path

from deml_tf.errors import DataError


def find_folder(
    where: Path, files: Sequence[str], below: Sequence[str], layout: str
) -> Path:
    """Finds the folder that holds the files of a data set.

    Args:
        where: what `--data_dir` names.
        files: their names; the first decides which folder it is.
        below: folders of `where` that are looked at as well, after `where` itself.
        layout: what a user's folder should hold, for the message.

    Returns:
        The folder, which holds all of the files.

    Raises:
        DataError: the file that is missing, and where it was looked for.
    """
    folders = [where, *(where / name for name in below)]
    for folder in folders:
        if (folder / files[0]).is_file():
            break
    else:
        raise DataError(
            f"there is no {files[0]} in {' or '.join(map(str, folders))}; give the "
            f"--data_dir that holds {layout}"
        )
    for name in files[1:]:
        if not (folder / name).is_file():
            raise DataError(
                f"there is no {name} in {folder} beside {files[0]}; put it there from "
                "the data set's archive"
            )
    return folder
