"""Sets finished runs side by side: `python -m deml_tf.compare RUN_DIR...`."""

from pathlib import Path

from absl import flags

from deml_tf.cli import command
from deml_tf.errors import DataError, UsageError
from deml_tf.reports.run_page import comparison_table, write_comparison
from deml_tf.runs.atomic import check_output
from deml_tf.runs.folder import RunFolder


def main(arguments):
    """Prints the table and, with --output, writes the page."""
    if not arguments:
        raise UsageError("No run given: name the folders of finished runs.")
    names = [Path(argument).name for argument in arguments]
    if len(set(names)) < len(names):
        names = arguments
    runs = dict(zip(names, map(RunFolder, arguments), strict=True))
    for run in runs.values():
        if not run.finished:
            raise UsageError(
                f"{run.path} is no finished run: train it first, or name another."
            )
    if flags.FLAGS.output:
        check_output("output", flags.FLAGS.output)
    results = {name: _results(run) for name, run in runs.items()}
    rows = [*_frozen_starts(results), *results.items()]
    command.console().print(comparison_table(rows))
    if flags.FLAGS.output:
        write_comparison(
            flags.FLAGS.output,
            rows,
            links={name: run.report_path for name, run in runs.items()},
        )
        print(f"Comparison: {flags.FLAGS.output}")


def _results(run):
    results = run.read_json("results.json")
    if not isinstance(results, dict) or not {"frozen", "test"} <= results.keys():
        raise DataError(
            f"{run.results_path} lacks the scores of a run: train it again, or name "
            "another."
        )
    return results


def _frozen_starts(results):
    """One row for each frozen start: runs that share it share the row."""
    starts = {}
    for name, result in results.items():
        key = tuple(sorted(result["frozen"].items()))
        starts.setdefault(key, []).append(name)
    for key, names in starts.items():
        suffix = "" if len(starts) == 1 else f" of {', '.join(names)}"
        yield f"frozen start{suffix}", {"frozen": dict(key)}


def cli():
    """Defines the flags and runs: what `deml-tf-compare` starts."""
    flags.DEFINE_string("output", None, "HTML page to write.")
    command.run(main)


if __name__ == "__main__":
    cli()
