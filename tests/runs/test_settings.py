"""What a run is, told by its flags."""

import pytest

from deml_tf.cli.flags import as_flags
from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.runs.flagfile import flag_text
from deml_tf.runs.settings import changed_flags, meaning

NAME = "binomial_deviance_cost_negative"


@pytest.mark.parametrize(
    ("scales", "learners", "given", "trained", "changed"),
    [
        (1, 1, {}, "25.0", None),
        (1, 1, {"cost_negative": 25.0}, "25.0", None),
        (1, 1, {"cost_negative": 35.0}, "35.0", "35.0"),
        (1, 2, {}, "35.0", None),
        (2, 1, {"cost_negative": 35.0}, "35.0", None),
        (2, 1, {"cost_negative": 25.0}, "25.0", "25.0"),
    ],
)
def test_the_baseline_has_a_constant_of_its_own(
    scales, learners, given, trained, changed
):
    configs = Configs(
        DataConfig(dataset="folder", data_dir="images"),
        ModelConfig(scales=scales, learners=learners),
        LossConfig(loss_arguments=given),
        TrainConfig(run_dir="run"),
        ScoreConfig(),
    )
    flags = as_flags(*configs)
    lines = [f"--{n}={flag_text(n, v)}" for n, v in flags.items() if v is not None]
    assert changed_flags(configs).get(NAME) == changed
    assert meaning(lines)[NAME] == trained
