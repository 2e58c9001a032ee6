"""How `deml_tf.evaluate` scores: as the run did, or as its command line says."""

import contextlib
from dataclasses import replace
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from absl import flags

import deml_tf.retrieval
from deml_tf import evaluate
from deml_tf.cli import command
from deml_tf.cli.flags import as_flags
from deml_tf.cli.parsing import parse
from deml_tf.config import (
    Configs,
    DataConfig,
    DistributionConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.batches import scoring_dataset
from deml_tf.data.example import Example
from deml_tf.data.selection import read_split
from deml_tf.data.split_record import write_record
from deml_tf.data.splits import Split
from deml_tf.errors import DataError
from deml_tf.evaluate import Source
from deml_tf.models.embedder import build_frozen
from deml_tf.retrieval import score_images
from deml_tf.retrieval.probes import LEAST_CLASSES
from deml_tf.retrieval.score_images import Images
from deml_tf.runs.folder import RunFolder
from deml_tf.runs.settings import read_settings
from deml_tf.training import final_scores
from deml_tf.training.session import Session
from deml_tf.training.start import train


class Begun(Exception):
    """Images would be embedded."""


@contextlib.contextmanager
def defined():
    """The flags of the command, and nothing of them afterwards."""
    values, before = flags.FLAGS, set(flags.FLAGS)
    try:
        with mock.patch.object(command, "run"), mock.patch.object(evaluate, "run"):
            evaluate.cli()
        yield values
    finally:
        values.unparse_flags()
        values.remove_flag_values(list(set(values) - before))


@pytest.fixture
def scoring_of(monkeypatch):
    """Gives the ranks and the batch size that a command line would score with."""
    split = Split((), (), (Example("a.png", "a"),))
    monkeypatch.setattr(evaluate, "load_embedder", lambda path: None)
    monkeypatch.setattr(evaluate, "readable", lambda source, role: split)
    embed_images = mock.Mock(side_effect=Begun)
    monkeypatch.setattr(evaluate, "embed_images", embed_images)

    def find(*given):
        with defined() as values, pytest.raises(Begun):
            evaluate.main(parse(values, ["evaluate", *map(str, given)])[1:])
        _, _, scoring = embed_images.call_args.args
        return scoring.ranks, scoring.scoring_batch_size

    return find


@pytest.fixture
def run(tmp_path):
    """A finished run with ranks and a batch size of its own."""
    data = DataConfig(dataset="folder", data_dir=str(tmp_path))
    score = ScoreConfig(ranks=(1, 3), scoring_batch_size=5)
    configs = Configs(data, ModelConfig(), LossConfig(), TrainConfig(), score)
    folder = RunFolder.open(tmp_path / "run", as_flags(*configs))
    folder.write_json("results.json", {})
    folder.close()
    return f"--run_dir={folder.path}"


@pytest.mark.parametrize(
    ("given", "ranks", "size"),
    [
        ([], (1, 3), 5),
        (["--ranks=1,7"], (1, 7), 5),
        (["--scoring_batch_size=64"], (1, 3), 64),  # which is the default
        (["--ranks="], (1, 2, 4, 8), 5),  # those of the data set
    ],
)
def test_a_run_is_scored_as_it_was_unless_flags_say_else(
    scoring_of, run, given, ranks, size
):
    assert scoring_of(run, *given) == (ranks, size)


def test_an_embedder_by_itself_is_scored_as_flags_say(scoring_of, tmp_path):
    given = [f"--embedder={tmp_path / 'e.keras'}", "--dataset=folder"]
    given += [f"--data_dir={tmp_path}", "--scoring_batch_size=7"]
    assert scoring_of(*given) == ((1, 2, 4, 8), 7)


def test_scores_of_other_images_go_to_other_files(tmp_path):
    given = [f"--embedder={tmp_path / 'e.keras'}", "--dataset=folder"]
    given += [f"--data_dir={tmp_path}"]
    names = set()
    for more in ([], ["--split=train"], ["--layout=empty"]):
        with defined() as values:
            parse(values, ["evaluate", *given, *more])
            names.add(evaluate._source().output.name)
    assert names == {"e.scores.json", "e.scores_train.json", "e.scores_empty.json"}


def test_attributes_are_read_from_the_frozen_start_too(monkeypatch, tmp_path):
    """Of the same images, laid out the same."""
    called = {}
    for name in ("read_attributes", "build_frozen", "embed", "probe_attributes"):
        called[name] = mock.Mock(return_value=name)
        monkeypatch.setattr(evaluate, name, called[name])
    monkeypatch.setattr(evaluate, "inference", lambda model: lambda: f"pass {model}")
    monkeypatch.setattr(evaluate, "embedding_of", lambda *given: {"fit": "pad"})
    data, path = DataConfig(dataset="plumage", data_dir="plumage"), tmp_path / "e.keras"
    source = Source(path, path, data, seed=3, model=ModelConfig())
    examples = [Example(f"{n}.png", f"species {n}") for n in range(LEAST_CLASSES)]
    images = Images(examples, (), "shifted", seed=4)
    outputs = {"parts": "parts", "embedding": "whole"}
    found = evaluate.attribute_probe(source, images)(outputs, ScoreConfig())
    assert found == "probe_attributes"
    called["build_frozen"].assert_called_once_with(source.model, 3)
    called["embed"].assert_called_once_with(
        "pass build_frozen",
        images.queries,
        progress="frozen start",
        layout=images.layouts[0],
        fit="pad",
    )
    called["probe_attributes"].assert_called_once_with(
        "parts",
        "whole",
        [example.label for example in examples],
        "read_attributes",
        frozen="embed",
        seed=4,
    )


def test_attributes_are_those_of_the_images_wherever_it_is_called(
    tmp_path, monkeypatch
):
    """The flag of the run names a folder below the one that it was started in."""
    plumage = tmp_path / "there" / "plumage"
    plumage.mkdir(parents=True)
    data = DataConfig(dataset="plumage", data_dir="plumage")
    record, split = tmp_path / "split.json", Split((), (), ())
    monkeypatch.chdir(plumage.parent)
    write_record(record, split, data)
    monkeypatch.chdir(tmp_path)
    read = mock.Mock(side_effect=DataError("seen"))
    monkeypatch.setattr(evaluate, "read_attributes", read)
    examples = [Example(f"{n}.png", f"species {n}") for n in range(LEAST_CLASSES)]
    source = Source(tmp_path, tmp_path, data, seed=3, record=record)
    with pytest.raises(DataError, match="seen"):
        evaluate.attribute_probe(source, Images(examples, (), "as_is", seed=4))
    read.assert_called_once_with(str(plumage))
    plumage.rename(tmp_path / "plumage")  # where the flag looks from here
    with pytest.raises(DataError, match="seen"):
        evaluate.attribute_probe(source, Images(examples, (), "as_is", seed=4))
    read.assert_called_with(str(tmp_path / "plumage"))


def test_flags_of_trainings_alone_are_none_of_it():
    with defined() as values:
        assert "run_dir" in values and "seed" in values
        assert not {"steps", "optimizer", "score_frozen"} & {*values}


@pytest.fixture
def shop(painted, tmp_path):
    """A list of images: of each unseen class two queries and a gallery of three."""
    rows = ["path,label,split"]
    for path in sorted(painted.glob("*/*.png")):
        label, number = path.parent.name, int(path.stem)
        unseen = "query" if number < 2 else "gallery"
        role = unseen if label >= "class 04" else "train"
        rows.append(f"{path},{label},{role}")
    where = tmp_path / "list.csv"
    where.write_text("\n".join(rows))
    return where


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbone")
def test_queries_are_searched_in_their_gallery(shop, tiny_flags, tmp_path, monkeypatch):
    """From a list to the scores of training and command, without steps and report."""
    monkeypatch.setattr(Session, "fit", lambda *_: None)
    monkeypatch.setattr(final_scores, "_report", lambda *_: None)
    for module in (final_scores, score_images):  # uncompiled, which takes less time
        monkeypatch.setattr(module, "inference", lambda model: lambda: model)
    run = RunFolder(tmp_path / "run")
    given = [*tiny_flags, "--dataset=list", f"--data_dir={shop}"]
    given += ["--validation_classes=0", "--scales=1", "--learners=1"]
    given += ["--decoupling=none", "--nodeterministic", f"--run_dir={run.path}"]
    configs = read_settings(given)
    results: Any = train(configs, DistributionConfig())
    assert results["protocol"]["test_images"] == 8
    assert results["protocol"]["gallery_images"] == 12

    split = read_split(configs.data, 0)
    labels, gallery_labels = ([e.label for e in s] for s in (split.test, split.gallery))
    images = scoring_dataset(split.test + split.gallery, resize_size=40)
    squares = np.concatenate([batch for batch, _ in images])

    def scores_of(model):
        queries, gallery = model(squares[:8]), model(squares[8:])
        found = deml_tf.retrieval.evaluate(
            queries,
            labels,
            gallery_embeddings=gallery,
            gallery_labels=gallery_labels,
            nmi=True,
        )
        among_themselves = deml_tf.retrieval.evaluate(queries, labels)
        assert found["map_at_r"] != among_themselves["map_at_r"]
        return pytest.approx(found)

    embedder: Any = keras.saving.load_model(run.embedder_path)
    wanted = scores_of(embedder)
    assert results["test"] == wanted
    assert results["frozen"] == scores_of(build_frozen(configs.model))
    with defined() as values:
        words = parse(values, ["evaluate", f"--run_dir={run.path}"])
        evaluate.main(words[1:])
    scores = run.read_json("scores_test.json")
    assert scores["joined"] == wanted
    of_classes = [found["map_at_r"] for found in scores["classes"]]
    assert np.mean(of_classes) == pytest.approx(scores["joined"]["map_at_r"])

    alone = evaluate.Source(run.embedder_path, tmp_path / "s.json", configs.data, 0)
    assert evaluate.readable(alone, "test") == replace(split, train=())
    assert evaluate.readable(alone, "train") == Split(split.train, (), ())
