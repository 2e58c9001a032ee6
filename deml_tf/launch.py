"""Trains on several workers: `python -m deml_tf.launch --workers=2 -- FLAGS`.

Each worker is `python -m deml_tf.train FLAGS` in a process of this machine, with the
TF_CONFIG that makes them one training. It shows what the scheduler of a cluster does,
and lets you try it: on one machine, several workers are not faster than one.

Whoever reaches the workers' ports can run code on this machine, since TensorFlow
listens on every network: let only a private network reach them.

If a worker ends with an error, the others are ended too; with --restarts all of them
start again from the last checkpoint. SIGTERM is passed on to the workers, which save
their step; when all have ended, launch exits with status 143.
"""

import signal
import sys
from collections.abc import Sequence

from absl import flags

from deml_tf.cli.command import run
from deml_tf.cli.flags import define, define_flags, from_flags, read_configs
from deml_tf.cli.parsing import parse
from deml_tf.cli.printing import say
from deml_tf.cli.settings import Setting
from deml_tf.config import CONFIGS, DistributionConfig
from deml_tf.errors import DataError, UsageError
from deml_tf.training.worker_processes import run_workers

FLAGS = flags.FLAGS
SETTINGS = (
    Setting(
        "workers",
        int,
        2,
        "Number of workers, which are processes of this machine.",
        at_least=1,
        at_most=64,
    ),
    Setting(
        "restarts",
        int,
        0,
        "Number of times that all workers are started again after an error.",
        at_least=0,
    ),
)
_TRAIN = "deml_tf.train"
_WRONG_USAGE = 2  # exit status that no restart can mend


def main(arguments: Sequence[str]) -> None:
    """Run the workers, again if asked to, until all of them are done."""
    if not arguments:
        raise UsageError(f"No flags for {_TRAIN}: write them after --.")
    check(arguments)
    for begun in range(1, FLAGS.restarts + 2):
        status = run_workers(FLAGS.workers, arguments)
        if not any(status):
            return
        said = what_failed(status)
        if _WRONG_USAGE in status:
            raise UsageError(f"{said}, and mend its flags.")
        if begun > FLAGS.restarts:
            raise DataError(
                f"{said}; the same command goes on from the last checkpoint."
            )
        say(f"{said}; all start again (restart {begun} of {FLAGS.restarts}).")


def what_failed(status: Sequence[int | None]) -> str:
    """Say which worker failed, and how: one that was killed could not say so itself.

    Args:
        status: Exit statuses as `run_workers` returns them, at least one of them not 0.

    Returns:
        The beginning of a sentence.
    """
    failed = {rank: ended for rank, ended in enumerate(status) if ended}
    rank = min(failed, key=lambda rank: (failed[rank] >= 0, -failed[rank]))
    named, ended = f"Worker {rank} of {len(status)}", failed[rank]
    if ended < 0:
        return f"{named} was killed by {signal.Signals(-ended).name}"
    return f"{named} ended with status {ended}: see what it said above"


def check(arguments: Sequence[str]) -> None:
    """Refuse, once and before a worker starts, flags that each worker would refuse.

    Args:
        arguments: Flags of `deml_tf.train`.

    Raises:
        UsageError: One of them is wrong.
    """
    values = flags.FlagValues()
    values.append_flag_values(FLAGS)  # absl's own
    values.remove_flag_values([setting.name for setting in SETTINGS])
    define_flags(*CONFIGS, DistributionConfig, flag_values=values)
    hint = f"see python -m {_TRAIN} --help for all"
    _, *words = parse(values, [sys.argv[0], *arguments], _TRAIN, hint)
    if words:
        raise UsageError(
            f"{words[0]!r} is no flag: write only flags of {_TRAIN} after --."
        )
    read_configs(values)
    from_flags(DistributionConfig, values)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-launch`."""
    define(*SETTINGS)
    said = "Interrupted; the same command goes on from the last checkpoint."
    run(main, said, hint=f"write flags of {_TRAIN} after --")


if __name__ == "__main__":
    cli()
