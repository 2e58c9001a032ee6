"""Scores an embedder on unseen classes: `python -m deml_tf.evaluate --run_dir=R`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from deml_tf.cli.command import console, no_words, run
from deml_tf.cli.flags import define, define_flags, from_flags
from deml_tf.cli.printing import say
from deml_tf.cli.settings import Setting
from deml_tf.config import Configs, DataConfig, ModelConfig, ScoreConfig
from deml_tf.data.layouts import LAYOUTS
from deml_tf.data.object_crops import crop_to_boxes
from deml_tf.data.plumage.attributes import check_has_attributes, read_attributes
from deml_tf.data.scan import take_out_bad
from deml_tf.data.selection import read_split, run_split
from deml_tf.data.sets import find_set
from deml_tf.data.split_record import place_of, read_facts
from deml_tf.data.splits import ROLES, SIDES, Split
from deml_tf.errors import UsageError
from deml_tf.models.embedder import build_frozen
from deml_tf.models.load import load_embedder
from deml_tf.reports.projector import write_projector
from deml_tf.reports.score_tables import score_tables
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.probes import check_probed, probe_attributes
from deml_tf.retrieval.score_images import (
    Images,
    embed_images,
    embedding_of,
    score_images,
)
from deml_tf.runs.atomic import (
    check_output,
    check_output_folder,
    is_written_into,
    write_atomically,
)
from deml_tf.runs.finished import open_finished
from deml_tf.runs.json_text import json_text

FLAGS = flags.FLAGS


class Source(NamedTuple):
    """What is scored: an embedder's file, the images, and where the scores go."""

    embedder: Path
    output: Path
    data: DataConfig
    seed: int
    record: Path | None = None  # of the run's split
    model: ModelConfig | None = None  # of the run
    scoring: ScoreConfig = ScoreConfig()


def main(arguments: Sequence[str]) -> None:
    """Load, embed, rank, print and write."""
    no_words(arguments)
    source = _source()
    check_output("output", source.output)
    if FLAGS.projector:
        check_output_folder("projector", FLAGS.projector)
    _check_together(source)
    embedder = load_embedder(source.embedder)
    split = readable(source, FLAGS.split)
    examples = getattr(split, FLAGS.split)
    if not examples:
        raise UsageError(f"split={FLAGS.split}: the data set has no such images.")
    ranks = source.scoring.ranks or find_set(source.data.dataset).ranks
    scoring = dataclasses.replace(source.scoring, ranks=ranks)
    images = Images(examples, split.gallery, FLAGS.layout, source.seed)
    probe = attribute_probe(source, images) if FLAGS.probe_attributes else None
    embedded = embed_images(embedder, images, scoring)
    scores = score_images(images, embedded, scoring)
    if probe:
        scores["attributes"] = probe(embedded.queries, scoring)
    names = ("dataset", "data_dir")
    what = {name: str(getattr(source.data, name) or "") for name in names}
    what |= {"split": FLAGS.split, "layout": FLAGS.layout}
    report = {"embedder": str(source.embedder), **what, **scores}
    write_atomically(source.output, json_text(report, indent=2).encode())
    if FLAGS.projector:
        outputs, folder = embedded.queries["embedding"], Path(FLAGS.projector)
        layout = images.layouts[0]
        count = write_projector(folder, outputs, examples, source.seed, layout)
        say(f"Map of {count} embeddings: {folder / 'map.html'}")
    for table in score_tables(scores, FLAGS.classes, FLAGS.split):
        console().print(table)
    say(f"Scores: {source.output}")


def readable(source: Source, role: str) -> Split:
    """Read what is scored, without the images that cannot be read.

    Args:
        source: Source of the images. A list of bad ones is written beside the scores,
            or beside the embedder if the scores are not written to a regular file.
        role: "train", "validation" or "test".

    Returns:
        The split with only the images of that role, and for "test" the gallery.
    """
    if source.record:
        split = run_split(source.record, source.data, source.seed)
    else:
        split = read_split(source.data, source.seed, needed=(role,))
    wanted = (role, *["gallery"] * (role == "test"))
    others = {*ROLES} - {*wanted}
    split = dataclasses.replace(split, **dict.fromkeys(others, ()))
    beside = source.embedder if is_written_into(source.output) else source.output
    listed = beside.with_suffix(".bad_images.csv")
    split = take_out_bad(split, source.data.bad_images, listed)
    return crop_to_boxes(split, source.data)


def attribute_probe(
    source: Source, images: Images
) -> Callable[[Mapping[str, np.ndarray], ScoreConfig], dict[str, Any]]:
    """Prepare to read the attributes of Plumage's species from an embedding.

    Args:
        source: Source of the images; a run's frozen start is probed for comparison.
        images: The images.

    Returns:
        A function of the explainer's outputs and of how they are scored (the batch
        size) that returns what `probe_attributes` does.

    Raises:
        UsageError: The images are of too few species.
    """
    labels = [example.label for example in images.queries]
    check_probed(labels)
    # Where the run's images were, whatever folder this is called in.
    folder = source.data.data_dir
    if source.record and source.record.exists():
        folder = place_of(read_facts(source.record)["data_dir"], source.data)
    attributes = read_attributes(str(folder))
    model = build_frozen(source.model, source.seed) if source.model else None

    def probe(outputs: Mapping[str, np.ndarray], scoring: ScoreConfig):
        frozen = None
        if model is not None:
            how = embedding_of(model, scoring)
            given, layout = images.queries, images.layouts[0]
            forward = inference(model)()
            frozen = embed(
                forward, given, progress="frozen start", layout=layout, **how
            )
        return probe_attributes(
            outputs["parts"],
            outputs["embedding"],
            labels,
            attributes,
            frozen=frozen,
            seed=images.seed,
        )

    return probe


def _check_together(source: Source) -> None:
    """Refuse attributes where there are none."""
    if not FLAGS.probe_attributes:
        return
    check_has_attributes("probe_attributes=true", source.data.dataset)
    if FLAGS.layout == "empty":
        raise UsageError(
            "probe_attributes=true finds nothing to read with layout=empty: leave out "
            "one of the two."
        )


def _source() -> Source:
    """Read from the flags what is scored: a run, or an embedder and a data set."""
    if FLAGS.run_dir and FLAGS.embedder:
        raise UsageError(
            f"run_dir={FLAGS.run_dir} has an embedder of its own: leave it out, or "
            f"embedder={FLAGS.embedder}."
        )
    laid_out = "" if FLAGS.layout == "as_is" else f"_{FLAGS.layout}"
    if FLAGS.embedder:
        path = Path(FLAGS.embedder)
        role = "" if FLAGS.split == "test" else f"_{FLAGS.split}"
        for name in ("dataset", "data_dir"):
            if not FLAGS[name].value and (
                name == "dataset" or find_set(FLAGS.dataset).needs_data_dir
            ):
                raise UsageError(f"--{name} is missing: --embedder needs it.")
        output = Path(FLAGS.output or path.with_suffix(f".scores{role}{laid_out}.json"))
        data, seed = from_flags(DataConfig, FLAGS), FLAGS.seed
        scoring = from_flags(ScoreConfig, FLAGS)
        return Source(path, output, data, seed, scoring=scoring)
    if not FLAGS.run_dir:
        raise UsageError(
            "--run_dir is missing: give it, or --embedder with --dataset and "
            "--data_dir."
        )
    folder, configs = open_finished(FLAGS.run_dir)
    _refuse_other_data(configs)
    data = _with_given(configs.data, ["bad_images"])
    names = [field.name for field in dataclasses.fields(ScoreConfig)]
    scoring = _with_given(configs.score, names)
    name = f"scores_{FLAGS.split}{laid_out}.json"
    output = Path(FLAGS.output or folder.path / name)
    seed = configs.train.seed
    record, model = folder.split_path, configs.model
    return Source(folder.embedder_path, output, data, seed, record, model, scoring)


def _with_given(config: Any, names: Sequence[str]) -> Any:
    """Replace settings of a run with those that are given on the command line."""
    given = {name: FLAGS[name].value for name in names if FLAGS[name].present}
    return dataclasses.replace(config, **given)


def _refuse_other_data(configs: Configs) -> None:
    """Refuse flags for other images than those of the run, which are scored."""
    for name, own in (vars(configs.data) | {"seed": configs.train.seed}).items():
        given = FLAGS[name]
        if given.present and given.value != own and name != "bad_images":
            raise UsageError(
                f"{name}={given.value} is not that of the run ({own}), whose own "
                "images are scored: leave it out, or give "
                f"embedder={FLAGS.run_dir}/embedder.keras in place of "
                f"run_dir={FLAGS.run_dir}."
            )


SETTINGS = (
    Setting("run_dir", Path, None, "Folder of a finished run."),
    Setting("embedder", Path, None, "An embedder.keras, in place of --run_dir."),
    Setting(
        "split",
        str,
        "test",
        "Images to score: those of the training, validation (held-out) or test "
        "(unseen) classes.",
        SIDES,
    ),
    Setting(
        "seed",
        int,
        0,
        "Seed of the choice of validation classes, the layouts, the clusters behind "
        "NMI, the map and the probes.",
        at_least=0,
        below=2**32,
    ),
    Setting(
        "classes",
        int,
        10,
        "Number of lines in the printed table of classes.",
        at_least=0,
    ),
    Setting(
        "layout",
        str,
        "as_is",
        "Layout of the images before they are embedded: as_is, unchanged; shifted by "
        "a quarter of the side; cluttered with patches of other classes; several, "
        "beside an image of another class; or empty, without an object.",
        LAYOUTS,
    ),
    Setting(
        "probe_attributes",
        bool,
        False,
        "Whether to measure as well, with dataset=plumage, which attributes of unseen "
        "species each learner's part shows.",
    ),
    Setting(
        "output",
        Path,
        None,
        "JSON file to write; by default in the run folder, or beside the embedder.",
    ),
    Setting(
        "projector",
        Path,
        None,
        "Folder to which the embeddings and their images are also written, for "
        "TensorBoard's projector and as a map in map.html.",
    ),
)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-evaluate`."""
    define_flags(DataConfig, ScoreConfig)
    define(*SETTINGS)
    run(main)


if __name__ == "__main__":
    cli()
