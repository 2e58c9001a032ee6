"""A finished run, for the commands that use its embedder."""

import os

from deml_tf.config import Configs
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.folder import RunFolder
from deml_tf.runs.settings import read_settings


def open_finished(path: str | os.PathLike[str]) -> tuple[RunFolder, Configs]:
    """Open a finished run and read the settings that it was trained with.

    Args:
        path: The run's folder.

    Returns:
        The folder and the settings.

    Raises:
        UsageError: The run is not finished.
        DataError: Its results cannot be read, or its flags are not what a training
            writes.
    """
    run = RunFolder(path)
    if not run.finished:
        raise UsageError(f"{run.path} is no finished run: train it to its end first.")
    try:
        return run, read_settings(run.flag_lines())
    except UsageError as error:
        raise DataError(
            f"{run.flags_path} is not what a training writes ({str(error).rstrip('.')})"
            ": name another run."
        ) from error
