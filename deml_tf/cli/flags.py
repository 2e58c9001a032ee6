"""Configs as absl flags and back; nothing below a command's `main` sees FLAGS."""

import dataclasses
import math
import sys
from typing import Any, TypeVar, cast

from absl import flags

from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.errors import UsageError

C = TypeVar("C")


def define_flags(*configs, flag_values=flags.FLAGS):
    """Defines the absl flags of config classes."""
    for config in configs:
        for field in dataclasses.fields(config):
            _define(field, flag_values)


def as_flags(*configs):
    """The values of config instances by flag name, as a run keeps them."""
    return {
        field.name: getattr(config, field.name)
        for config in configs
        for field in dataclasses.fields(config)
        if field.name != "run_dir"  # where a run lies is not what it is
    }


def from_flags(config: type[C], values: flags.FlagValues) -> C:
    """Reads a config back, checked.

    Args:
        config: The dataclass.
        values: absl's FLAGS after parsing.

    Returns:
        An instance of `config`.

    Raises:
        UsageError: A value is out of its range.
    """
    arguments = {}
    for field in dataclasses.fields(cast(Any, config)):
        value = getattr(values, field.name)
        if isinstance(field.default, tuple):
            value = _whole_numbers(field.name, value)
        _check(field, value)
        arguments[field.name] = value
    return config(**arguments)


def read_configs(values: flags.FlagValues) -> Configs:
    """Reads all parts of a training run back, checked.

    Raises:
        UsageError: A value is out of its range.
    """
    return Configs(
        from_flags(DataConfig, values),
        from_flags(ModelConfig, values),
        from_flags(LossConfig, values),
        from_flags(TrainConfig, values),
        from_flags(ScoreConfig, values),
    )


def _define(field, flag_values):
    name, default = field.name, field.default
    text, choices = field.metadata["help"], field.metadata["choices"]
    kind = str(field.type)
    # Listed by --help as the command's own flags.
    where = {"flag_values": flag_values, "module_name": sys.argv[0]}
    if isinstance(default, tuple):
        flags.DEFINE_list(name, [str(v) for v in default], text, **where)
    elif "bool" in kind:
        flags.DEFINE_bool(name, default, text, **where)
    elif choices and "int" not in kind:
        flags.DEFINE_enum(name, default, choices, text, **where)
    elif "int" in kind:
        flags.DEFINE_integer(name, default, text, **where)
    elif "float" in kind:
        flags.DEFINE_float(name, default, text, **where)
    else:
        flags.DEFINE_string(name, default, text, **where)


def _whole_numbers(name, values):
    try:
        numbers = tuple(int(v) for v in values)
    except ValueError:
        numbers = None
    if numbers is None or any(n < 1 for n in numbers):
        raise UsageError(
            f"--{name}={','.join(map(str, values))}: give whole numbers from 1 up, "
            "separated by commas."
        )
    return numbers


def _check(field, value):
    if value is None or not isinstance(value, int | float):
        return
    limits = field.metadata
    wrong = None
    if not math.isfinite(value):
        wrong = "a finite number"
    elif limits["at_least"] is not None and not value >= limits["at_least"]:
        wrong = f"at least {limits['at_least']}"
    elif limits["above"] is not None and not value > limits["above"]:
        wrong = f"above {limits['above']}"
    elif limits["below"] is not None and not value < limits["below"]:
        wrong = f"below {limits['below']}"
    elif limits["choices"] and value not in limits["choices"]:
        wrong = " or ".join(str(c) for c in limits["choices"])
    if wrong:
        raise UsageError(f"--{field.name}={value}: it must be {wrong}.")
