"""Compares finished runs: `python -m deml_tf.compare RUN_DIR...`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from deml_tf.cli.command import console, run
from deml_tf.cli.flags import define
from deml_tf.cli.printing import say
from deml_tf.cli.settings import Setting
from deml_tf.data.split_record import read_facts
from deml_tf.errors import DataError, UsageError
from deml_tf.reports.comparison import (
    comparison_rows,
    comparison_table,
    write_comparison,
)
from deml_tf.runs.atomic import check_output
from deml_tf.runs.folder import RunFolder


def main(arguments: Sequence[str]) -> None:
    """Print the table and, if an output is asked for, write the page."""
    output = flags.FLAGS.output
    runs = finished_runs(arguments)
    if output:
        check_output("output", output)
    warnings = unlike_tests(runs)
    for warning in warnings:
        say(f"WARNING: {warning}")
    rows = comparison_rows({name: results_of(run) for name, run in runs.items()})
    if output:
        links = {name: run.report_path for name, run in runs.items()}
        write_comparison(output, rows, links=links, warnings=warnings)
    console().print(comparison_table(rows))
    if output:
        say(f"Comparison: {output}")


def finished_runs(folders: Sequence[str]) -> dict[str, RunFolder]:
    """Return the runs of folders, by the folder's name or, if two share it, its path.

    Raises:
        UsageError: There is no folder, or one is not a finished run.
        DataError: The results of one cannot be read.
    """
    if not folders:
        raise UsageError("No run given: name the folders of finished runs.")
    names: Sequence[str] = [os.path.basename(os.path.abspath(f)) for f in folders]
    if len(set(names)) < len(names):
        names = folders
    runs = dict(zip(names, map(RunFolder, folders), strict=True))
    for found in runs.values():
        if not found.finished:
            raise UsageError(
                f"{found.path} is no finished run: train it first, or name another."
            )
    return runs


def unlike_tests(runs: Mapping[str, RunFolder]) -> list[str]:
    """Return a sentence for each run that was tested on other images than the first.

    Args:
        runs: Runs by name. Those of versions up to 0.2, which do not say what they were
            tested on, are left out.

    Raises:
        DataError: A run's record of its split is spoilt.
    """
    recorded = {n: run.split_path for n, run in runs.items() if run.split_path.exists()}
    digests = {n: read_facts(path)["test_digest"] for n, path in recorded.items()}
    first = next(iter(digests), "")
    return [
        f"{name} was tested on other images than {first}, so their scores cannot be "
        "compared"
        for name, digest in digests.items()
        if digest != digests[first]
    ]


def results_of(run: RunFolder) -> dict[str, Any]:
    """Read the results of a run.

    Raises:
        DataError: They lack the scores that are compared.
    """
    results = run.read_json("results.json")
    if not isinstance(results, dict) or not {"frozen", "test"} <= results.keys():
        raise DataError(
            f"{run.results_path} lacks the scores of a run: train it again, or name "
            "another."
        )
    return results


SETTINGS = (Setting("output", Path, None, "HTML page to write."),)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-compare`."""
    define(*SETTINGS)
    run(main)


if __name__ == "__main__":
    cli()
