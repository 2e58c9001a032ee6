"""Scores an embedder on unseen classes: `python -m deml_tf.evaluate --run_dir=R`."""

import json
from pathlib import Path
from typing import cast

import keras
import numpy as np
from absl import flags
from rich.table import Table

from deml_tf import command
from deml_tf.atomic import write_atomically
from deml_tf.config import (
    CONFIGS,
    DataConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.batches import class_ids
from deml_tf.errors import DataError, UsageError
from deml_tf.flags import define_flags, from_flags
from deml_tf.models.embedder import CORE, explainer, geometry_of
from deml_tf.retrieval.evaluation import embed, inference, score
from deml_tf.retrieval.metrics import per_class
from deml_tf.run import RunFolder
from deml_tf.split import read_split

FLAGS = flags.FLAGS


def main(arguments):
    """Loads, embeds, ranks, prints and writes."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    path, output, values = _sources()
    embedder = load_embedder(path)
    data = from_flags(DataConfig, values)
    seed = from_flags(TrainConfig, values).seed
    scoring = from_flags(ScoreConfig, FLAGS)
    examples = getattr(read_split(data, seed), FLAGS.split)
    if not examples:
        raise UsageError(f"--split={FLAGS.split}: the data set has no such pictures.")

    geometry = geometry_of(embedder)
    outputs = embed(
        inference(explainer(embedder)),
        examples,
        resize_size=geometry.resize_size,
        fit=geometry.fit,
        batch_size=scoring.scoring_batch_size,
        progress="embedding",
    )
    scores = score(outputs, examples, ranks=scoring.ranks, seed=seed)
    labels, names = class_ids(examples)
    classes = per_class(outputs["embedding"], np.array(names)[labels])

    console = command.console()
    console.print(summary_table(scores))
    console.print(class_table(classes, FLAGS.classes))
    report = {"embedder": str(path), "split": FLAGS.split, **scores, "classes": classes}
    write_atomically(output, json.dumps(report, indent=2).encode())
    print(f"Scores: {output}")


def load_embedder(path):
    """Loads an `embedder.keras`, in Keras's safe mode.

    Raises:
        DataError: The file is missing or no embedder.
    """
    if not Path(path).is_file():
        raise DataError(f"There is no embedder at {path}: name an embedder.keras.")
    try:
        embedder = cast(keras.Model, keras.saving.load_model(path, compile=False))
        embedder.get_layer(CORE)
    except (ValueError, OSError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path} is no embedder of this project: {reason}") from error
    return embedder


def summary_table(scores):
    """Metrics of the joined embedding and of each scale alone."""
    rows = [("joined", scores["joined"])]
    rows += [(f"scale {row['scale']}", row) for row in scores["per_scale"]]
    names = [n for n in scores["joined"] if not n.startswith("queries")]
    table = Table("", *names, title="Unseen classes")
    for title, row in rows:
        values = [row.get(name) for name in names]
        table.add_row(title, *("" if v is None else f"{v:.4f}" for v in values))
    joined = scores["joined"]
    table.caption = (
        f"{joined['queries']} queries, {joined['queries_left_out']} left out (the only "
        "picture of their class)"
    )
    return table


def class_table(classes, count):
    """The hardest classes."""
    hardest = sorted(classes, key=lambda row: row["recall_at_1"])[:count]
    table = Table("class", "queries", "R@1", "RP", "MAP@R", title="Hardest classes")
    for row in hardest:
        table.add_row(
            str(row["label"]),
            str(row["queries"]),
            *(f"{row[n]:.3f}" for n in ("recall_at_1", "r_precision", "map_at_r")),
        )
    return table


def _sources():
    """Embedder file, output file, and the flags that say which pictures."""
    if bool(FLAGS.run_dir) == bool(FLAGS.embedder):
        raise UsageError("Give either --run_dir, or --embedder with --dataset.")
    if FLAGS.embedder:
        for name in ("dataset", "data_dir"):
            if not FLAGS[name].value:
                raise UsageError(f"--{name} is missing: --embedder needs it.")
        path = Path(FLAGS.embedder)
        return path, Path(FLAGS.output or path.with_suffix(".scores.json")), FLAGS
    run = RunFolder(FLAGS.run_dir)
    if not run.finished:
        raise UsageError(f"{run.path} is no finished run: train it to its end first.")
    values = flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    values(["", f"--flagfile={run.flags_path}"])
    output = Path(FLAGS.output or run.path / f"scores_{FLAGS.split}.json")
    return run.embedder_path, output, values


if __name__ == "__main__":
    define_flags(DataConfig, TrainConfig, ScoreConfig)
    flags.DEFINE_string("embedder", None, "An embedder.keras, in place of --run_dir.")
    flags.DEFINE_enum(
        "split", "test", ["train", "validation", "test"], "Which pictures to score."
    )
    flags.DEFINE_integer("classes", 10, "Lines of the printed class table.")
    flags.DEFINE_string("output", None, "JSON file to write; default beside the model.")
    command.run(main)
