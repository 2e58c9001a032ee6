"""How `deml_tf.evaluate` scores: as the run did, or as its command line says."""

import contextlib
from unittest import mock

import pytest
from absl import flags

from deml_tf import evaluate
from deml_tf.cli import command
from deml_tf.cli.flags import as_flags
from deml_tf.cli.parsing import parse
from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.example import Example
from deml_tf.data.splits import Split
from deml_tf.runs.folder import RunFolder


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


def test_flags_of_trainings_alone_are_none_of_it():
    with defined() as values:
        assert "run_dir" in values and "seed" in values
        assert not {"steps", "optimizer", "score_frozen"} & {*values}
