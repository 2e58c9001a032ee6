"""What is refused before the data are read."""

import pytest

from deml_tf.config import (
    Configs,
    DataConfig,
    DistributionConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.errors import UsageError
from deml_tf.training.start import train


@pytest.mark.parametrize(
    ("model", "loss", "words"),
    [
        ({"region_arguments": {"steps": 0}}, {}, "walk_steps=0"),
        ({}, {"loss_arguments": {"alpha": -1.0}}, "binomial_deviance_alpha=-1.0"),
        (
            {},
            {"decoupling": "adversary", "decoupling_arguments": {"steps": 0}},
            "adversary_steps=0",
        ),
        ({}, {}, "nowhere"),  # only then the data
    ],
)
def test_wrong_arguments_are_told_before_the_data(model, loss, words, tmp_path):
    configs = Configs(
        DataConfig(dataset="folder", data_dir=str(tmp_path / "nowhere")),
        ModelConfig(**model),
        LossConfig(**loss),
        TrainConfig(run_dir=str(tmp_path / "run"), deterministic=False),
        ScoreConfig(),
    )
    with pytest.raises(UsageError, match=words):
        train(configs, DistributionConfig())
    assert not (tmp_path / "run").exists()
