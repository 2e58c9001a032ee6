"""Scores an embedder on unseen classes: `python -m deml_tf.evaluate --run_dir=R`."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import cast

import keras
import numpy as np
from absl import flags
from rich.table import Table

from deml_tf.cli import command
from deml_tf.cli.flags import define_flags, from_flags
from deml_tf.config import (
    DataConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.catalog import needs_folder
from deml_tf.data.scan import take_out_bad
from deml_tf.data.selection import read_split
from deml_tf.data.sets.published import ranks_of
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import CORE, explainer, geometry_of
from deml_tf.retrieval.metrics import per_class
from deml_tf.retrieval.scoring import embed, inference, score
from deml_tf.runs.atomic import check_output, write_atomically
from deml_tf.runs.finished import open_finished

FLAGS = flags.FLAGS


def main(arguments):
    """Loads, embeds, ranks, prints and writes."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    path, output, values = _sources()
    check_output("output", output)
    data = from_flags(DataConfig, values)
    seed = from_flags(TrainConfig, values).seed
    scoring = from_flags(ScoreConfig, FLAGS)
    embedder = load_embedder(path)
    split = readable(read_split(data, seed), data, output)
    examples, gallery = getattr(split, FLAGS.split), split.gallery
    if not examples:
        raise UsageError(f"--split={FLAGS.split}: the data set has no such images.")

    geometry = geometry_of(embedder)
    forward = inference(explainer(embedder))()
    embedding = {
        "resize_size": geometry.resize_size,
        "fit": geometry.fit,
        "batch_size": scoring.scoring_batch_size,
    }
    outputs = embed(forward, examples, progress="embedding", **embedding)
    searched = None
    if gallery:
        searched = embed(forward, gallery, progress="gallery", **embedding)
    scores = score(
        outputs,
        examples,
        ranks=scoring.ranks or ranks_of(data.dataset),
        seed=seed,
        gallery_outputs=searched,
        gallery=gallery,
    )
    classes = per_class(
        outputs["embedding"],
        np.array([example.label for example in examples]),
        gallery_embeddings=searched and searched["embedding"],
        gallery_labels=np.array([e.label for e in gallery]) if gallery else None,
    )

    console = command.console()
    console.print(summary_table(scores))
    console.print(class_table(classes, FLAGS.classes))
    report = {"embedder": str(path), "split": FLAGS.split, **scores, "classes": classes}
    write_atomically(output, json.dumps(report, indent=2).encode())
    print(f"Scores: {output}")


def readable(split, data, output):
    """What is scored, without the images that cannot be read.

    Args:
        split: The `Split`.
        data: The `DataConfig`; --bad_images given to this command wins over it.
        output: File of the scores; that of the bad images lies beside it.

    Returns:
        The `Split` of the role that is scored, its gallery included.
    """
    wanted = (FLAGS.split, *["gallery"] * (FLAGS.split == "test"))
    roles = [field.name for field in dataclasses.fields(split)]
    split = dataclasses.replace(
        split, **{role: () for role in roles if role not in wanted}
    )
    given = FLAGS["bad_images"]
    choice = str(given.value) if given.present else data.bad_images
    return take_out_bad(split, choice, output.with_suffix(".bad_images.csv"))


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
    except Exception as error:  # Keras, zip and HDF5 raise a dozen kinds
        reason = " ".join(str(error).split()).partition(". ")[0].rstrip(".")
        if not zipfile.is_zipfile(path):
            reason = "it is cut short, or no .keras file"
        raise DataError(
            f"{path} is no embedder of this project ({reason}): name an embedder.keras "
            "that a training has written."
        ) from error
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
        "image of their class)"
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
    """Embedder file, output file, and the flags that say which images."""
    if FLAGS.run_dir and FLAGS.embedder:
        raise UsageError(
            f"--run_dir={FLAGS.run_dir} has an embedder of its own: leave it out, or "
            f"--embedder={FLAGS.embedder}."
        )
    if not FLAGS.run_dir and not FLAGS.embedder:
        raise UsageError(
            "--run_dir is missing: give it, or --embedder with --dataset and "
            "--data_dir."
        )
    if FLAGS.embedder:
        for name in ("dataset", "data_dir"):
            if not FLAGS[name].value and (
                name == "dataset" or needs_folder(FLAGS.dataset)
            ):
                raise UsageError(f"--{name} is missing: --embedder needs it.")
        path = Path(FLAGS.embedder)
        return path, Path(FLAGS.output or path.with_suffix(".scores.json")), FLAGS
    run, values = open_finished(FLAGS.run_dir)
    output = Path(FLAGS.output or run.path / f"scores_{FLAGS.split}.json")
    return run.embedder_path, output, values


def cli():
    """Defines the flags and runs: what `deml-tf-evaluate` starts."""
    define_flags(DataConfig, TrainConfig, ScoreConfig)
    flags.DEFINE_string("embedder", None, "An embedder.keras, in place of --run_dir.")
    flags.DEFINE_enum(
        "split", "test", ["train", "validation", "test"], "Which images to score."
    )
    flags.DEFINE_integer("classes", 10, "Lines of the printed class table.")
    flags.DEFINE_string("output", None, "JSON file to write; default beside the model.")
    command.run(main)


if __name__ == "__main__":
    cli()
