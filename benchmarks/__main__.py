"""Measures and prints a table: `python -m benchmarks [--rows=NAME,...] [--json=F]`."""

from pathlib import Path

from absl import flags
from rich.table import Table

from benchmarks import (
    ceiling,
    data_index,
    growth,
    networks,
    parts,
    scoring,
    serving,
    step_input,
    walk,
)
from deml_tf.cli import command
from deml_tf.cli.flags import define
from deml_tf.cli.settings import Setting
from deml_tf.errors import UsageError
from deml_tf.runs.atomic import check_output, write_atomically
from deml_tf.runs.environment import environment
from deml_tf.runs.json_text import json_text

FLAGS = flags.FLAGS
BENCHMARKS = {
    "ceiling": ceiling.measure,
    "networks": networks.measure,
    "parts": parts.measure,
    "walk": walk.measure,
    "growth": growth.measure,
    "scoring": scoring.measure,
    "data_index": data_index.measure,
    "step_input": step_input.measure,
    "serving": serving.measure,
}


def main(arguments):
    """Runs the benchmarks one after the other."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    unknown = [name for name in FLAGS.rows if name not in BENCHMARKS]
    if unknown:
        raise UsageError(
            f"--rows={unknown[0]} is unknown: choose from {', '.join(BENCHMARKS)}."
        )
    if FLAGS.repeats < 1:
        raise UsageError(f"--repeats={FLAGS.repeats}: it must be at least 1.")
    if FLAGS.json:
        check_output("json", FLAGS.json)
    rows = []
    for name in FLAGS.rows:
        print(f"{name} ...", flush=True)
        rows += BENCHMARKS[name](FLAGS.repeats)
    if FLAGS.json:
        report = {"environment": environment(), "rows": [r.as_json() for r in rows]}
        write_atomically(FLAGS.json, json_text(report, indent=2).encode())
    command.console().print(table(rows))


def table(rows):
    """Return the rows as a table."""
    result = Table("benchmark", "row", "median", "range", "ratio", "over")
    for row in rows:
        low_high = f"{row.spread[0]:.3g} to {row.spread[1]:.3g}" if row.spread else ""
        result.add_row(
            row.group,
            row.name,
            f"{row.value:.3g} {row.unit}",
            low_high,
            "" if row.ratio is None else f"{row.ratio:.3g}",
            row.against or "",
        )
    return result


if __name__ == "__main__":
    flags.DEFINE_list(
        "rows", list(BENCHMARKS), "Benchmarks to run, separated by commas."
    )
    flags.DEFINE_integer("repeats", 5, "Number of timed repeats of each row.")
    text = "File for the figures and the machine."
    define(Setting("json", Path, None, text))
    command.run(main)
