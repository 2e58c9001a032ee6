"""Turns configs into absl flags and back; only the commands' modules see FLAGS."""

import dataclasses
import functools
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from deml_tf.cli.settings import (
    Setting,
    argument_fields,
    constructor_settings,
    field_settings,
)
from deml_tf.config import CONFIGS, Configs, must_be
from deml_tf.errors import UsageError

C = TypeVar("C")
_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, on Linux
_DEFINE: Mapping[type, Any] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define_flags(*configs: type, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the absl flags of config classes.

    A registered class that a config can choose brings flags of its own, `NAME_ARGUMENT`
    for each argument of its constructor.

    Args:
        *configs: Dataclasses of `deml_tf.config`.
        flag_values: Where the flags are defined.
    """
    for config in configs:
        define(*field_settings(config), flag_values=flag_values)
        for _, choice, rules in argument_fields(config):
            define(*choice_settings(choice, rules), flag_values=flag_values)


def choice_settings(choice: str, rules: Mapping[str, type]) -> Iterator[Setting]:
    """Yield the settings of all classes that a flag can choose, as `NAME_ARGUMENT`.

    Args:
        choice: Name of the flag.
        rules: The classes by their names.
    """
    for name, rule in rules.items():
        for setting in constructor_settings(rule):
            text = f"With {choice}={name}: {setting.help}"
            yield setting._replace(name=f"{name}_{setting.name}", help=text)


def define(*settings: Setting, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the absl flags of settings, with validators for their ranges.

    Args:
        *settings: What the flags are made of.
        flag_values: Where the flags are defined.
    """
    # Listed by --help as the command's own flags.
    where: Any = {"flag_values": flag_values, "module_name": sys.argv[0]}
    for setting in settings:
        common = (setting.name, setting.default)
        if setting.kind is tuple:
            commas = flags.CsvListSerializer(",")
            parser = _WholeNumbers()
            flags.DEFINE(parser, *common, setting.help, serializer=commas, **where)
        elif setting.kind is Path:
            text = flags.ArgumentSerializer()
            flags.DEFINE(_Paths(), *common, setting.help, serializer=text, **where)
        elif setting.kind is list:
            flags.DEFINE_multi_string(*common, setting.help, **where)
        elif setting.kind is str and setting.choices:
            flags.DEFINE_enum(*common, setting.choices, setting.help, **where)
        else:
            _DEFINE[setting.kind](*common, setting.help, **where)
        if setting.kind in (int, float):
            check = functools.partial(_check, setting)
            flags.register_validator(setting.name, check, flag_values=flag_values)


def as_flags(*configs: Any) -> dict[str, Any]:
    """Return the values of config instances by flag name, as a run keeps them.

    Constructor arguments are included only if they were given.
    """
    values = {}
    for config in configs:
        own = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        for field, choice, _ in argument_fields(type(config)):
            rule = own[choice]
            values |= {f"{rule}_{n}": value for n, value in own.pop(field).items()}
        values |= own
    values.pop("run_dir", None)  # where a run is stored is not part of it
    return values


def from_flags(config: type[C], values: flags.FlagValues) -> C:
    """Read a config back from parsed flags.

    Args:
        config: The dataclass.
        values: The flags after parsing.

    Returns:
        An instance of `config`.

    Raises:
        UsageError: A flag belongs to a registered class that is not chosen.
    """
    arguments = {s.name: values[s.name].value for s in field_settings(config)}
    for field, choice, rules in argument_fields(config):
        chosen = str(arguments[choice])
        refuse_not_chosen(choice, rules, chosen, values)
        arguments[field] = {
            setting.name: flag.value
            for setting in constructor_settings(rules[chosen])
            if not (flag := values[f"{chosen}_{setting.name}"]).using_default_value
        }
    return config(**arguments)


def refuse_not_chosen(
    choice: str, rules: Mapping[str, type], chosen: str, values: flags.FlagValues
) -> None:
    """Refuse flags that are given but belong to a class that is not chosen.

    Args:
        choice: Name of the flag that chooses.
        rules: The classes by their names.
        chosen: Name of the chosen class.
        values: The flags after parsing.

    Raises:
        UsageError: There is such a flag.
    """
    for flag, rule in _not_chosen(rules, chosen, values):
        raise UsageError(
            f"{flag}={values[flag].value} is for {choice}={rule}, not {chosen}: "
            f"leave it out, or give {choice}={rule}."
        )


def read_configs(values: flags.FlagValues) -> Configs:
    """Read all parts of a training run back from parsed flags.

    Raises:
        UsageError: A flag belongs to a registered class that is not chosen.
    """
    return Configs._make(from_flags(config, values) for config in CONFIGS)


def drop_not_chosen(values: flags.FlagValues, keep: Collection[str] = ()) -> None:
    """Reset the flags of registered classes that are not chosen.

    Older versions wrote them into a run's flags whether or not they were used.

    Args:
        values: The flags after parsing.
        keep: Names of flags that are not reset.
    """
    for _, choice, rules in _argument_fields(values):
        for flag, _ in _not_chosen(rules, str(values[choice].value), values):
            if flag not in keep:
                values[flag].unparse()


def _argument_fields(values: flags.FlagValues) -> Iterator[tuple[str, str, Any]]:
    """Yield the argument fields of all configs whose flags are defined."""
    for config in CONFIGS:
        for field, choice, rules in argument_fields(config):
            if choice in values:
                yield field, choice, rules


def _not_chosen(
    rules: Mapping[str, type], chosen: str, values: flags.FlagValues
) -> Iterator[tuple[str, str]]:
    """Yield each flag that is given, with its class, though another is chosen."""
    for name, rule in rules.items():
        if name != chosen:
            for setting in constructor_settings(rule):
                flag = f"{name}_{setting.name}"
                if not values[flag].using_default_value:
                    yield flag, name


class _WholeNumbers(flags.ArgumentParser[Any]):
    """Parses "5,10" as (5, 10); absl's lists are of strings."""

    def parse(self, argument: Any) -> tuple[int, ...]:
        """Return the numbers, none for an empty text."""
        texts = argument if isinstance(argument, tuple) else argument.split(",")
        try:
            numbers = tuple(int(text) for text in texts) if argument else ()
        except ValueError:
            numbers = (0,)
        if any(number < 1 for number in numbers):
            raise ValueError("give whole numbers from 1 up, separated by commas")
        return numbers

    def flag_type(self) -> str:
        """Return the name of the type in the help."""
        return "whole numbers"


class _Paths(flags.ArgumentParser[Any]):
    """Parses every path alike: expands ~, which shells do not expand after =."""

    def parse(self, argument: Any) -> str:
        """Return the path with ~ replaced."""
        if "\0" in argument:
            raise ValueError("leave out the null byte, which no name of a file has")
        path = os.path.expanduser(argument)
        if path.partition("/")[0] == "~":
            raise ValueError("write the whole path, for there is no home folder")
        longest = max(len(os.fsencode(part)) for part in path.split("/"))
        if longest > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
            raise ValueError("give a shorter path, for no disk has so long a name")
        return path

    def flag_type(self) -> str:
        """Return the name of the type in the help."""
        return "path"


def _check(setting: Setting, value: Any) -> bool:
    """Validate a number, with a message that says what it must be."""
    wrong = None if value is None else must_be(value, setting._asdict())
    if wrong:
        raise flags.ValidationError(f"it must be {wrong}")
    return True
