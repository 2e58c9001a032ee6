"""Scores an embedder on unseen classes: `python -m deml_tf.evaluate --run_dir=R`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from absl import flags

from deml_tf.cli.command import console, no_words, run
from deml_tf.cli.flags import define, define_flags, from_flags
from deml_tf.cli.printing import say
from deml_tf.cli.settings import Setting
from deml_tf.config import DataConfig, ScoreConfig, TrainConfig
from deml_tf.data.example import Example
from deml_tf.data.object_crops import crop_to_boxes
from deml_tf.data.scan import take_out_bad
from deml_tf.data.selection import read_split, run_split
from deml_tf.data.sets import find_set
from deml_tf.data.splits import Split
from deml_tf.errors import UsageError
from deml_tf.models.embedder import explainer, geometry_of
from deml_tf.models.load import load_embedder
from deml_tf.reports.score_tables import class_table, summary_table
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.metrics import per_class
from deml_tf.retrieval.scoring import score
from deml_tf.runs.atomic import check_output, is_written_into, write_atomically
from deml_tf.runs.finished import open_finished
from deml_tf.runs.json_text import json_text

FLAGS = flags.FLAGS
ROLES = ("train", "validation", "test")


class Source(NamedTuple):
    """What is scored: an embedder's file, the images, and where the scores go."""

    embedder: Path
    output: Path
    data: DataConfig
    seed: int
    record: Path | None = None  # of the run's split


def main(arguments: Sequence[str]) -> None:
    """Load, embed, rank, print and write."""
    no_words(arguments)
    source = _source()
    check_output("output", source.output)
    embedder = load_embedder(source.embedder)
    split = readable(source, FLAGS.split)
    examples = getattr(split, FLAGS.split)
    if not examples:
        raise UsageError(f"split={FLAGS.split}: the data set has no such images.")
    scoring = from_flags(ScoreConfig, FLAGS)
    ranks = scoring.ranks or find_set(source.data.dataset).ranks
    scoring = dataclasses.replace(scoring, ranks=ranks)
    scores = score_images(embedder, examples, split.gallery, scoring, source.seed)
    report = {"embedder": str(source.embedder), "split": FLAGS.split, **scores}
    write_atomically(source.output, json_text(report, indent=2).encode())
    console().print(summary_table(scores))
    console().print(class_table(scores["classes"], FLAGS.classes))
    say(f"Scores: {source.output}")


def readable(source: Source, role: str) -> Split:
    """Read what is scored, without the images that cannot be read.

    Args:
        source: Of the images. A list of bad ones is written beside the scores, or
            beside the embedder if the scores go to no file.
        role: "train", "validation" or "test".

    Returns:
        The split of that role, its gallery included, with no images of another.
    """
    if source.record:
        split = run_split(source.record, source.data, source.seed)
    else:
        split = read_split(source.data, source.seed)
    wanted = (role, *["gallery"] * (role == "test"))
    others = {f.name for f in dataclasses.fields(split)} - {*wanted}
    split = dataclasses.replace(split, **dict.fromkeys(others, ()))
    beside = source.embedder if is_written_into(source.output) else source.output
    listed = beside.with_suffix(".bad_images.csv")
    split = take_out_bad(split, source.data.bad_images, listed)
    return crop_to_boxes(split, source.data)


def score_images(
    embedder: keras.Model,
    examples: Sequence[Example],
    gallery: Sequence[Example],
    scoring: ScoreConfig,
    seed: int,
) -> dict[str, Any]:
    """Score an embedder on images.

    Args:
        embedder: What `build_deml` built.
        examples: The queries, and what they search where there is no gallery.
        gallery: What the queries search, if it is something else.
        scoring: Ranks of Recall@K and the size of a batch.
        seed: Of the clustering.

    Returns:
        What `score` gives, and `classes`, one record for each class.
    """
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
        ranks=scoring.ranks,
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
    return {**scores, "classes": classes}


def _source() -> Source:
    """Read from the flags what is scored: a run, or an embedder and a data set."""
    if FLAGS.run_dir and FLAGS.embedder:
        raise UsageError(
            f"run_dir={FLAGS.run_dir} has an embedder of its own: leave it out, or "
            f"embedder={FLAGS.embedder}."
        )
    if FLAGS.embedder:
        path = Path(FLAGS.embedder)
        for name in ("dataset", "data_dir"):
            if not FLAGS[name].value and (
                name == "dataset" or find_set(FLAGS.dataset).needs_data_dir
            ):
                raise UsageError(f"--{name} is missing: --embedder needs it.")
        output = Path(FLAGS.output or path.with_suffix(".scores.json"))
        data, seed = from_flags(DataConfig, FLAGS), FLAGS.seed
        return Source(path, output, data, seed)
    if not FLAGS.run_dir:
        raise UsageError(
            "--run_dir is missing: give it, or --embedder with --dataset and "
            "--data_dir."
        )
    folder, configs = open_finished(FLAGS.run_dir)
    data = configs.data
    if FLAGS["bad_images"].present:
        data = dataclasses.replace(data, bad_images=FLAGS.bad_images)
    output = Path(FLAGS.output or folder.path / f"scores_{FLAGS.split}.json")
    seed = configs.train.seed
    return Source(folder.embedder_path, output, data, seed, folder.split_path)


SETTINGS = (
    Setting("embedder", Path, None, "An embedder.keras, in place of --run_dir."),
    Setting("split", str, "test", "Which images to score.", ROLES),
    Setting("classes", int, 10, "Lines of the printed class table.", at_least=0),
    Setting("output", Path, None, "JSON file to write; default beside the model."),
)


def cli() -> None:
    """Define the flags and run: what `deml-tf-evaluate` starts."""
    define_flags(DataConfig, TrainConfig, ScoreConfig)
    define(*SETTINGS)
    run(main)


if __name__ == "__main__":
    cli()
