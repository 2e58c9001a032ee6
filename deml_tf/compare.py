"""Sets finished runs side by side: `python -m deml_tf.compare RUN_DIR...`."""

from pathlib import Path

from absl import flags

from deml_tf import command
from deml_tf.errors import UsageError
from deml_tf.report import comparison_table, write_comparison
from deml_tf.run import RunFolder


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
    results = {name: run.read_json("results.json") for name, run in runs.items()}
    rows = [*_frozen_starts(results), *results.items()]
    command.console().print(comparison_table(rows))
    if flags.FLAGS.output:
        write_comparison(
            flags.FLAGS.output,
            rows,
            links={name: run.report_path for name, run in runs.items()},
        )
        print(f"Comparison: {flags.FLAGS.output}")


def _frozen_starts(results):
    """One row for each frozen start: runs that share it share the row."""
    starts = {}
    for name, result in results.items():
        key = tuple(sorted(result["frozen"].items()))
        starts.setdefault(key, []).append(name)
    for key, names in starts.items():
        suffix = "" if len(starts) == 1 else f" of {', '.join(names)}"
        yield f"frozen start{suffix}", {"frozen": dict(key)}


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "HTML page to write.")
    command.run(main)
