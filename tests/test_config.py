from pathlib import Path

import pytest
from absl import flags

from deml_tf.cli.flags import (
    as_flags,
    define_flags,
    from_flags,
    read_configs,
)
from deml_tf.config import (
    CONFIGS,
    DataConfig,
    ModelConfig,
    TrainConfig,
)
from deml_tf.errors import UsageError
from deml_tf.models.embedder import build_deml

CONFIGS_FOLDER = Path(__file__).parent.parent / "configs"


def parse(*arguments):
    values = flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    values(["command", *arguments])
    return values


def test_defaults_return_as_they_are():
    values = parse()
    for config in CONFIGS:
        assert from_flags(config, values) == config()


def test_model_flags_are_the_builders_arguments():
    import dataclasses
    import inspect

    flags_of_model = {f.name for f in dataclasses.fields(ModelConfig)}
    arguments = set(inspect.signature(build_deml).parameters) - {"seed", "explain"}
    assert flags_of_model == arguments


def test_values_reach_the_configs():
    values = parse(
        "--scales=2",
        "--nodeterministic",
        "--decay_steps=10,20",
        "--walk_steps=10",
        "--input_size=160",
        "--steps=50",
    )
    model = from_flags(ModelConfig, values)
    train = from_flags(TrainConfig, values)
    assert (model.scales, model.walk_steps, model.resize_size) == (2, 10, 183)
    assert train.deterministic is False and train.decay_steps == (10, 20)
    assert (train.evaluate_every, train.checkpoint_every) == (5, 5)


@pytest.mark.parametrize(
    "path", sorted(CONFIGS_FOLDER.glob("*.cfg")), ids=lambda p: p.stem
)
def test_the_configs_are_configurations(path, monkeypatch):
    monkeypatch.chdir(path.parent.parent)
    configs = read_configs(parse(f"--flagfile=configs/{path.name}"))
    assert configs.data.dataset and configs.data.data_dir and configs.train.run_dir
    assert configs.train.schedule == "step" or not configs.train.decay_steps
    comment = path.read_text().split("--")[0]
    assert comment.startswith("#") and f"configs/{path.name}" in path.read_text()


def test_a_runs_flags_are_all_but_its_place():
    names = as_flags(DataConfig(), TrainConfig(run_dir="somewhere"))
    assert "run_dir" not in names and names["dataset"] is None and names["seed"] == 0


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--scales=0", "--scales=0: it must be at least 1"),
        ("--validation_classes=1", "--validation_classes=1.0: it must be below 1"),
        ("--learning_rate=0", "--learning_rate=0.0: it must be above 0"),
        ("--learning_rate=nan", "--learning_rate=nan: it must be a finite number"),
        ("--output_stride=8", "--output_stride=8: it must be 16 or 32"),
        ("--ranks=1,x", "--ranks=1,x: give whole numbers"),
        ("--ranks=0", "--ranks=0: give whole numbers"),
        ("--images_per_class=1", "--images_per_class=1: it must be at least 2"),
    ],
)
def test_values_out_of_range(argument, words):
    values = parse(argument)
    with pytest.raises(UsageError) as caught:
        for config in CONFIGS:
            from_flags(config, values)
    assert words in str(caught.value)


@pytest.mark.parametrize("argument", ["--fit=stretch", "--scales=two", "--scale=2"])
def test_values_absl_refuses(argument):
    with pytest.raises(flags.Error):
        parse(argument)
