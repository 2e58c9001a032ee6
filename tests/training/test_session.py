"""What a session hands on and refuses before its first step."""

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import pytest

from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.augmentation import RandomResizedCrop
from deml_tf.data.example import Example
from deml_tf.data.splits import Split
from deml_tf.errors import UsageError
from deml_tf.models.embedder import Geometry
from deml_tf.training import session
from deml_tf.training.session import Session
from deml_tf.training.workers import Workers

IMAGES = tuple(Example(f"{n}.png", label) for n, label in enumerate("aabbcc"))
TRAIN = TrainConfig(
    steps=9,
    seed=3,
    classes_per_batch=2,
    augmentation="random_resized_crop",
)


@pytest.fixture
def begun(monkeypatch):
    """Makes a session that goes on from step 5, without a network or an image."""
    monkeypatch.setattr(session, "geometry_of", lambda _: Geometry(48, 40, "pad"))
    monkeypatch.setattr(session, "ChooseBestStep", mock.Mock())
    checkpoints = mock.Mock(leaving=False)
    checkpoints.restore.return_value = (5, False)
    monkeypatch.setattr(session, "Checkpoints", lambda *_, **__: checkpoints)
    monkeypatch.setattr(session.loop, "fit", mock.Mock())
    data = DataConfig("folder", "birds")
    configs = Configs(data, ModelConfig(), LossConfig(), TRAIN, ScoreConfig())
    run, network, split = mock.Mock(), mock.Mock(), Split(IMAGES, (), ())
    return lambda workers: Session(configs, run, workers, split, network, network)


def test_batches_are_those_of_the_flags(begun, monkeypatch):
    training_dataset = mock.Mock()
    monkeypatch.setattr(session, "training_dataset", training_dataset)
    begun(Workers()).fit(data_service="host:5050")
    (images, table), given = training_dataset.call_args
    assert images == IMAGES and (table.batch_size, table.seed) == (4, 3)
    assert isinstance(given.pop("augmentation"), RandomResizedCrop)
    assert given == {
        "resize_size": 48,
        "input_size": 40,
        "fit": "pad",
        "first_step": 5,
        "last_step": 9,
        "seed": 3,
        "share": (0, 4, 4),
        "service": "host:5050",
    }


def test_why_a_training_stopped_is_said_before_its_best_step(
    begun, monkeypatch, capsys
):
    choice = mock.MagicMock()
    choice.why_stopped.return_value = "Stopped at step 7."
    monkeypatch.setattr(session, "ChooseBestStep", lambda *_: choice)
    replace(begun(Workers()), split=Split(IMAGES, IMAGES, ())).fit()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "Stopped at step 7." and lines[-1].startswith("Best step: ")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([8, 0], "checkpoint of step 5 for worker 1 and one of step 8 for the first"),
        ([5, 0], "data_dir=birds holds other images for worker 1 than for the first"),
    ],
)
def test_workers_that_do_not_agree_with_the_first(begun, answers, words):
    """They are asked for the step that they go on from, then for their images."""
    agree = mock.Mock(side_effect=answers)
    cluster = SimpleNamespace(rank=1, size=2)
    other = mock.Mock(agree=agree, cluster=cluster, is_writer=False)
    with pytest.raises(UsageError, match=words):
        begun(other).fit()
    assert agree.call_args_list[0].args == (5,)
