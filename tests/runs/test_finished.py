"""Finished runs, of this version and of older ones."""

from pathlib import Path

import pytest
from absl import flags

from deml_tf.cli.flags import as_flags, define_flags
from deml_tf.compare import finished_runs
from deml_tf.config import (
    CONFIGS,
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.finished import open_finished
from deml_tf.runs.flagfile import RENAMED
from deml_tf.runs.folder import RunFolder

# As version 0.1.0 wrote them, but for settings that have kept their names.
OLD = """\
--activation_decay_weight=0.014
--adversary_learning_rate=0.001
--adversary_steps=1
--alpha=3.0
--beta=0.5
--border=clip
--cost_negative=25.0
--cost_positive=1.0
--data_dir=images
--dataset=folder
--decay_steps=
--decoupling=hinge
--epsilon=0.2
--multi_layer=true
--plumage_pictures=12
--prior_correction=false
--resize_size=40
--scales=2
--walk_steps=10
"""


@pytest.fixture
def finished(tmp_path):
    """Makes a finished run of a flagfile."""

    def make(text):
        (tmp_path / "flags.cfg").write_text(text)
        (tmp_path / "results.json").write_text("{}")
        return tmp_path

    return make


def test_settings_come_back(tmp_path):
    configs = Configs(
        DataConfig(dataset="folder", data_dir="a place, far away"),
        ModelConfig(scales=2, region_arguments={"steps": 10}),
        LossConfig(decoupling="adversary", decoupling_arguments={"steps": 2}),
        TrainConfig(run_dir="elsewhere", schedule="step", decay_steps=(5, 10)),
        ScoreConfig(ranks=(1, 10)),
    )
    run = RunFolder.open(tmp_path, as_flags(*configs))
    run.write_json("results.json", {})
    run.close()
    found, read = open_finished(tmp_path)
    assert found.path == tmp_path
    assert read.train.run_dir is None  # it lies where it lies
    assert read == configs._replace(
        train=TrainConfig(schedule="step", decay_steps=(5, 10))
    )


def test_a_run_of_an_older_version(finished):
    _, configs = open_finished(finished(OLD))
    assert configs.model.region_arguments == {
        "steps": 10,
        "epsilon": 0.2,
        "border": "clip",
        "multi_layer": True,
        "prior_correction": False,
    }
    assert configs.loss == LossConfig(
        loss_arguments={
            "alpha": 3.0,
            "beta": 0.5,
            "cost_positive": 1.0,
            "cost_negative": 25.0,
        }
    )
    assert (configs.model.scales, configs.model.resize_size) == (2, 40)
    assert configs.data.plumage_images == 12 and configs.train.decay_steps == ()


def test_the_adversary_of_an_older_version(finished):
    text = OLD.replace("decoupling=hinge", "decoupling=adversary")
    text = text.replace("adversary_steps=1", "adversary_steps=3")
    _, configs = open_finished(finished(text))
    given = {"steps": 3, "learning_rate": 1e-3}
    assert configs.loss.decoupling_arguments == given


def test_renamed_flags_have_todays_names():
    values = flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    assert set(RENAMED.values()) <= set(values)
    assert not set(RENAMED) & set(values)


@pytest.mark.parametrize(
    "text, words",
    [
        ("--frobnicate=3\n", "--frobnicate=3 is no flag"),
        ("--scales=2\nscales=3\n", "'scales=3' is no flag"),
        ("--scales=0\n", "--scales=0: it must be at least 1"),
    ],
)
def test_other_flags_are_refused(finished, text, words):
    with pytest.raises(DataError, match=f"flags.cfg is not what .*{words}.*another"):
        open_finished(finished(text))


def test_unfinished_runs_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no finished run"):
        open_finished(tmp_path)


@pytest.mark.parametrize("opened", [open_finished, lambda path: finished_runs([path])])
def test_a_finished_run_of_somebody_else(finished, monkeypatch, opened):
    """Who keeps it for himself; tests run as root may read all."""

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    path = finished(OLD)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"results.json cannot be read \(Permission d"):
        opened(path)


def test_an_older_run_has_the_flags_of_today(finished):
    path = finished(OLD)
    _, configs = open_finished(path)
    # Without those that the older version wrote though they are the defaults.
    given = {"alpha": 3.0, "cost_negative": 25.0}
    today = configs._replace(loss=LossConfig(loss_arguments=given))
    RunFolder.open(path, as_flags(*today)).close()
    other = today._replace(loss=LossConfig(loss_arguments={"cost_negative": 25.0}))
    with pytest.raises(UsageError) as caught:
        RunFolder.open(path, as_flags(*other))
    assert "(binomial_deviance_alpha: 3.0 -> 2.0)" in str(caught.value)
