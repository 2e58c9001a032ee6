"""Find the files of a data set at the place that `data_dir` names."""

import os
from collections.abc import Sequence
from pathlib import Path

from deml_tf.config import DataConfig
from deml_tf.data.parent_folders import resolve_parents
from deml_tf.errors import DataError, UsageError


def data_path(data: DataConfig) -> Path:
    """Return `data_dir` as a path that exists.

    Args:
        data: Names the data set and its place.

    Returns:
        A file or a folder.

    Raises:
        UsageError: `data_dir` is not given, does not exist or cannot be read.
    """
    if not data.data_dir:
        raise UsageError(f"dataset={data.dataset} needs data_dir=FOLDER; name it")
    where = Path(resolve_parents(os.path.expanduser(data.data_dir)))
    try:
        os.stat(where)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"data_dir={data.data_dir} does not exist; correct the path"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: an impossible name
        raise UsageError(
            f"data_dir={data.data_dir} cannot be read "
            f"({getattr(error, 'strerror', error)}); correct the path or permissions"
        ) from error
    return where


def data_folder(data: DataConfig) -> Path:
    """Return `data_dir` as a folder that exists.

    Args:
        data: Names the data set and its place.

    Returns:
        The folder.

    Raises:
        UsageError: `data_dir` is not given, does not exist or is a file.
    """
    where = data_path(data)
    if not where.is_dir():
        raise UsageError(
            f"data_dir={data.data_dir} is a file; give a folder for "
            f"dataset={data.dataset}, or use dataset=list for a list file"
        )
    return where


def find_folder(
    data: DataConfig, files: Sequence[str], below: Sequence[str], layout: str
) -> Path:
    """Find the folder that holds the list files of a published data set.

    Args:
        data: Names the data set and its place.
        files: Names of the list files. The first one decides which folder it is.
        below: Folders inside `data_dir` that are searched after `data_dir` itself.
        layout: What the folder should hold, in words, for the error message.

    Returns:
        The folder, which holds all of the files.

    Raises:
        UsageError: `data_dir` is not a folder.
        DataError: A file is missing.
    """
    where = data_folder(data)
    folders = [where, *(where / name for name in below)]
    found = [folder for folder in folders if (folder / files[0]).is_file()]
    if not found:
        raise DataError(
            f"there is no {files[0]} in {' or '.join(map(str, folders))}; give the "
            f"data_dir=FOLDER that holds {layout}"
        )
    for name in files[1:]:
        if not (found[0] / name).is_file():
            raise DataError(
                f"there is no {name} in {found[0]} beside {files[0]}; put it there "
                "from the data set's archive"
            )
    return found[0]
