"""A finished run, for the commands that go on with its embedder."""

import os

from absl import flags

from deml_tf.cli.flags import define_flags, drop_not_chosen, read_configs
from deml_tf.cli.parsing import parse
from deml_tf.config import CONFIGS, Configs
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.flagfile import renamed_lines
from deml_tf.runs.folder import RunFolder


def open_finished(path: str | os.PathLike[str]) -> tuple[RunFolder, Configs]:
    """Open a finished run and read the settings that it was trained with.

    Args:
        path: The run's folder.

    Returns:
        The folder and the settings.

    Raises:
        UsageError: The run is not finished.
        DataError: Its flags are not what a training writes.
    """
    run = RunFolder(path)
    if not run.finished:
        raise UsageError(f"{run.path} is no finished run: train it to its end first.")
    values = flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    try:
        _, *words = parse(values, ["", *renamed_lines(run.flag_lines())])
        if words:
            raise UsageError(f"{words[0]!r} is no flag")
        drop_not_chosen(values)
        return run, read_configs(values)
    except UsageError as error:
        raise DataError(
            f"{run.flags_path} is not what a training writes ({str(error).rstrip('.')})"
            ": name another run."
        ) from error
