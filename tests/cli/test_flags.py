import os
import pwd

import pytest
from absl import flags

from deml_tf import audit, compare, evaluate, export, index
from deml_tf.cli.flags import define, define_flags
from deml_tf.cli.parsing import parse
from deml_tf.config import CONFIGS
from deml_tf.errors import UsageError


def parsed(name, value, *settings):
    values = flags.FlagValues()
    define(*settings, flag_values=values)
    parse(values, ["", f"--{name}={value}"])
    return values[name].value


PATHS = (*evaluate.SETTINGS, *audit.SETTINGS, *export.PATHS, *compare.SETTINGS)
PATHS += index.SETTINGS


@pytest.mark.parametrize(
    "name",
    [
        "embedder",
        "output",
        "json",
        "run_dir",
        "output_dir",
        "embeddings",
        "add",
        "remove",
    ],
)
def test_every_path_flag_expands_the_home_folder(monkeypatch, name):
    monkeypatch.setenv("HOME", "/home/me")
    for setting in PATHS:
        if setting.name == name:
            assert parsed(name, "~/a b.html", setting) == "/home/me/a b.html"
            assert parsed(name, "a~/~b", setting) == "a~/~b"


@pytest.mark.parametrize("name", ["data_dir", "run_dir", "weights"])
def test_paths_of_a_training_expand_too(monkeypatch, name):
    monkeypatch.setenv("HOME", "/home/me")
    values = flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    parse(values, ["", f"--{name}=~/x"])
    assert values[name].value == "/home/me/x"
    assert values["weights"].default == "imagenet"


def test_a_path_without_a_home_folder_is_refused(monkeypatch):
    def unknown(user):
        raise KeyError(user)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for value in ("~", "~/x"):
        with pytest.raises(UsageError, match="there is no home folder"):
            parsed("output", value, *compare.SETTINGS)
    assert parsed("output", "~x/y", *compare.SETTINGS) == "~x/y"  # as a shell does


def test_a_path_with_a_null_byte_is_refused():
    with pytest.raises(UsageError, match="null byte"):
        parsed("output", "a\0b", *compare.SETTINGS)
    name = os.fsdecode(b"caf\xe9")
    assert parsed("output", name, *compare.SETTINGS) == name
