"""Settings as flags and back."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from absl import flags

from deml_tf.cli.flags import (
    as_flags,
    define_flags,
    drop_not_chosen,
    from_flags,
    read_configs,
)
from deml_tf.cli.parsing import parse
from deml_tf.cli.settings import constructor_settings
from deml_tf.config import (
    CONFIGS,
    DataConfig,
    LossConfig,
    ModelConfig,
    TrainConfig,
    check,
)
from deml_tf.data.sets import SETS
from deml_tf.errors import UsageError, arguments_of
from deml_tf.losses import METRIC_LOSSES
from deml_tf.training.build import build_metric_loss

CONFIGS_FOLDER = Path(__file__).parent.parent / "configs"


def parsed(*arguments):
    values = flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    parse(values, ["command", *arguments])
    return values


def test_defaults_return_as_they_are():
    values = parsed()
    for config in CONFIGS:
        assert from_flags(config, values) == config()


def test_values_reach_the_configs():
    configs = read_configs(
        parsed(
            "--scales=2",
            "--nodeterministic",
            "--decay_steps=10,20",
            "--input_size=160",
            "--steps=50",
        )
    )
    assert (configs.model.scales, configs.model.resize_size) == (2, 183)
    assert configs.train.deterministic is False
    assert configs.train.decay_steps == (10, 20)
    assert (configs.train.evaluate_every, configs.train.checkpoint_every) == (5, 5)


@pytest.mark.parametrize(
    "path", sorted(CONFIGS_FOLDER.glob("*.cfg")), ids=lambda p: p.stem
)
def test_the_configs_are_configurations(path, monkeypatch):
    monkeypatch.chdir(path.parent.parent)
    configs = read_configs(parsed(f"--flagfile=configs/{path.name}"))
    assert configs.data.dataset and configs.data.data_dir and configs.train.run_dir
    assert configs.train.schedule == "step" or not configs.train.decay_steps
    comment = path.read_text().split("--")[0]
    assert comment.startswith("#") and f"configs/{path.name}" in path.read_text()


def test_every_loss_has_a_configuration(monkeypatch):
    monkeypatch.chdir(CONFIGS_FOLDER.parent)
    found = {path.stem: path for path in (CONFIGS_FOLDER / "losses").glob("*.cfg")}
    assert set(found) == set(METRIC_LOSSES)
    for name, path in found.items():
        given = parsed(
            "--flagfile=configs/smoke_u512.cfg", f"--flagfile=configs/losses/{name}.cfg"
        )
        loss = read_configs(given).loss
        assert loss.loss == name and f"configs/losses/{name}.cfg" in path.read_text()
        build_metric_loss(loss, scales=1, learners=1, num_classes=3)


@pytest.mark.parametrize(
    ("name", "images", "decay", "rows"),
    [("cub200_2011", 52, 0.014, 1.0), ("cub200_2011_u512", 130, 0.0, 0.0)],
)
def test_the_releases_constants(name, images, decay, rows, monkeypatch):
    """train_DeML3-3_512.prototxt has 26 images for each of two devices; U512's 130."""
    monkeypatch.chdir(CONFIGS_FOLDER.parent)
    configs = read_configs(parsed(f"--flagfile=configs/{name}.cfg"))
    assert configs.train.batch_size == images
    assert configs.loss.activation_decay_weight == decay
    assert configs.loss.unit_rows_weight == rows


def test_a_runs_flags_are_all_but_its_place():
    names = as_flags(DataConfig(), TrainConfig(run_dir="somewhere"))
    assert "run_dir" not in names and names["dataset"] is None and names["seed"] == 0


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--scales=0", "--scales=0: it must be at least 1."),
        ("--validation_classes=1", "--validation_classes=1.0: it must be below 1.0."),
        ("--learning_rate=0", "--learning_rate=0.0: it must be above 0.0."),
        ("--learning_rate=nan", "--learning_rate=nan: it must be a finite number."),
        ("--output_stride=8", "--output_stride=8: it must be 16 or 32."),
        ("--ranks=1,x", "--ranks=1,x: give whole numbers from 1 up, separated by "),
        ("--ranks=0", "--ranks=0: give whole numbers"),
        ("--images_per_class=1", "--images_per_class=1: it must be at least 2."),
        ("--fit=stretch", "--fit=stretch: give squash or pad."),
        ("--loss=hinge", f"--loss=hinge: give {min(METRIC_LOSSES)} or "),
        ("--scales=two", "--scales=two: give a whole number."),
        ("--scale=2", "--scale=2 is no flag of this command"),
    ],
)
def test_wrong_values(argument, words):
    with pytest.raises(UsageError) as caught:
        parsed(argument)
    assert words in str(caught.value)


def test_a_setting_of_none_is_refused_where_that_means_nothing():
    check(ModelConfig(cut_layer=None))
    with pytest.raises(UsageError, match=r"^weights=None: give a value, or "):
        check(ModelConfig(weights=cast(Any, None)))


def test_of_two_wrong_values_the_first_is_said():
    with pytest.raises(UsageError, match=r"^--scales=0: it must be at least 1\.$"):
        parsed("--learning_rate=0", "--scales=0")


class Sphere:
    """A metric loss of the tests.

    Args:
        radius: Of the sphere, above 0; it is
            used in training.
        squared: Whether distances are squared.
        norm: How long.
        num_classes: The program gives it.
        **kwargs: None.
    """

    def __init__(
        self,
        num_classes: int,
        radius: float = 2.0,
        squared: bool | None = None,
        norm: Literal["one", "two"] = "one",
        weight: float = 1.0,
        **kwargs,
    ):
        self.arguments = num_classes, radius, squared, norm, weight, kwargs


@pytest.fixture
def sphere(monkeypatch):
    monkeypatch.setitem(METRIC_LOSSES, "sphere", Sphere)


def test_a_constructors_arguments_are_flags(sphere):
    values = parsed("--loss=sphere", "--sphere_radius=3", "--nosphere_squared")
    assert from_flags(LossConfig, values) == LossConfig(
        loss="sphere", loss_arguments={"radius": 3.0, "squared": False}
    )
    assert {name for name in values if name.startswith("sphere")} == {
        "sphere_radius",
        "sphere_squared",
        "sphere_norm",
    }
    help_text = values["sphere_radius"].help
    assert help_text == (
        "With loss=sphere: Of the sphere, above 0; it is used in training."
    )
    assert values["sphere_radius"].default == 2.0
    parser: Any = values["loss"].parser
    assert parser.enum_values == [*METRIC_LOSSES]
    assert "sphere" in METRIC_LOSSES


@pytest.mark.parametrize(
    "given, words",
    [
        (["--sphere_radius=3"], "sphere_radius=3.0 is for loss=sphere, not binomial_"),
        (["--loss=sphere", "--sphere_radius=inf"], "radius=inf: it must be a finite"),
        (["--loss=sphere", "--sphere_norm=six"], "--sphere_norm=six: give one or two."),
        (
            ["--adversary_steps=3"],
            "adversary_steps=3 is for decoupling=adversary, not hinge: leave it out, "
            "or give decoupling=adversary.",
        ),
    ],
)
def test_arguments_that_do_not_fit(sphere, given, words):
    with pytest.raises(UsageError) as caught:
        read_configs(parsed(*given))
    assert words in str(caught.value)


def test_arguments_return_from_a_runs_flags(sphere):
    model = ModelConfig(region_arguments={"steps": 10, "border": "clip"})
    loss = LossConfig(loss="sphere", loss_arguments={"norm": "two"})
    kept = as_flags(model, loss)
    assert kept["walk_steps"] == 10 and kept["sphere_norm"] == "two"
    assert "sphere_radius" not in kept and "loss_arguments" not in kept
    values = parsed(*(f"--{n}={v}" for n, v in kept.items() if v is not None))
    assert from_flags(ModelConfig, values) == model
    assert from_flags(LossConfig, values) == loss


def test_flags_of_what_is_not_chosen_can_be_dropped(sphere):
    values = parsed("--sphere_radius=3", "--adversary_steps=2", "--walk_steps=5")
    drop_not_chosen(values)
    configs = read_configs(values)
    assert configs.loss == LossConfig()
    assert configs.model.region_arguments == {"steps": 5}


def test_messages_of_a_constructor_name_its_flags():
    with pytest.raises(UsageError) as caught, arguments_of("walk", ["steps", "a"]):
        raise UsageError("steps=0 (a=1) is no walk of ba=1 in steps; width=2.")
    assert str(caught.value) == (
        "walk_steps=0 (walk_a=1) is no walk of ba=1 in steps; width=2."
    )
    with pytest.raises(UsageError, match="^width=2$"), arguments_of("walk", ()):
        raise UsageError("width=2")


def test_an_argument_that_no_flag_can_have_is_refused():
    class Odd:
        def __init__(self, shape: list[int] | None = None):
            self.shape = shape

    with pytest.raises(TypeError, match=r"Odd\(shape=\).*which no flag can have"):
        constructor_settings(Odd)


def test_the_help_lists_what_is_registered(monkeypatch):
    monkeypatch.setitem(SETS, "birds", SETS["folder"])
    assert parsed()["dataset"].help.endswith(", plumage, birds.")


def test_every_setting_explains_itself():
    for config in CONFIGS:
        for field in dataclasses.fields(config):
            text = field.metadata.get("help", "Arguments.")
            assert text.endswith(".") and text[0].isupper(), field.name


@pytest.mark.parametrize("size", [7, 96, 160, 224, 227, 10**400])
def test_the_default_margin_is_that_of_256_to_224(size):
    resize_size = ModelConfig(input_size=size).resize_size
    assert isinstance(resize_size, int)
    assert abs(resize_size * 7 - size * 8) <= 3  # the nearest whole number
