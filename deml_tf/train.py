"""Trains an embedder: `python -m deml_tf.train --flagfile=configs/NAME.cfg`.

SIGTERM, which Kubernetes and Slurm send before they kill, lets the step under way end,
saves it and exits with status 143; the same command then resumes from that step.
"""

from typing import Any

from absl import flags

from deml_tf.cli.command import console, no_words, run
from deml_tf.cli.flags import define_flags, from_flags, read_configs
from deml_tf.cli.printing import say
from deml_tf.config import CONFIGS, DistributionConfig
from deml_tf.data.sets import find_set
from deml_tf.errors import UsageError
from deml_tf.reports.comparison import comparison_table
from deml_tf.runs.folder import RunFolder
from deml_tf.training.start import train


def main(arguments: list[str]) -> None:
    """Read the flags, train, and print the scores."""
    no_words(arguments)
    configs = read_configs(flags.FLAGS)
    devices = from_flags(DistributionConfig, flags.FLAGS)
    _require(dataset=configs.data.dataset)
    if find_set(configs.data.dataset).needs_data_dir:
        _require(data_dir=configs.data.data_dir)
    _require(run_dir=configs.train.run_dir)
    results = train(configs, devices)
    if results:
        folder = RunFolder(str(configs.train.run_dir))
        console().print(comparison_table([(folder.path.name, results)]))
        say(f"Report: {folder.report_path}")


def _require(**values: Any) -> None:
    for name, value in values.items():
        if not value:
            raise UsageError(f"--{name} is missing: give it, or a --flagfile with it.")


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-train`."""
    define_flags(*CONFIGS, DistributionConfig)
    run(main, "Interrupted; the same command goes on from the last checkpoint.")


if __name__ == "__main__":
    cli()
