"""The settings that become flags: fields of a config, arguments of a constructor.

A metric loss, a region rule or a decoupling states its own settings once, as the
arguments of its constructor: annotation, default, and help in the docstring.
"""

import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

# Constructor arguments that the program sets, never the user.
_FILLED_IN = {
    "dtype",
    "name",
    "num_classes",
    "pairs",
    "reduction",
    "resolution",
    "weight",
}
_KINDS = (bool, int, float, str)


class Setting(NamedTuple):
    """One setting: what a flag is made of.

    Attributes:
        name: Name of the flag, without dashes.
        kind: bool, int, float or str; tuple for a list of whole numbers, Path for a
            text that names a file or folder, list for texts of a flag that may be given
            several times.
        default: A value of that kind, or None.
        help: What the setting does, with its unit.
        choices: The only values it may have, or None.
        at_least: Least value; None for no limit, as for the next three.
        at_most: Greatest value.
        above: What the value must be greater than.
        below: What the value must be less than.
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[Any, ...] | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None


def registered(place: str) -> Mapping[str, Any]:
    """Return the dict in which classes are registered.

    Args:
        place: Module and name, such as "losses.METRIC_LOSSES".
    """
    module, _, name = place.rpartition(".")
    return getattr(importlib.import_module(f"deml_tf.{module}"), name)


def field_settings(config: Any) -> Iterator[Setting]:
    """Yield the settings of a config's own fields.

    Args:
        config: One of the dataclasses in `deml_tf.config`.
    """
    for field in dataclasses.fields(config):
        if "arguments_of" in field.metadata:
            continue
        facts = field.metadata
        kind, _ = _kind_and_choices(f"{config.__name__}.{field.name}", field.type)
        kind = Path if facts["path"] else kind
        place, choices, text = facts["registered"], facts["choices"], facts["help"]
        if facts["listed"]:
            text += f" Names: {', '.join(registered(facts['listed']))}."
        yield Setting(
            field.name,
            kind,
            field.default,
            text,
            tuple(registered(place)) if place else choices,
            at_least=facts["at_least"],
            at_most=facts["at_most"],
            above=facts["above"],
            below=facts["below"],
        )


def argument_fields(config: Any) -> Iterator[tuple[str, str, Mapping[str, type]]]:
    """Yield the fields that hold constructor arguments of a registered class.

    Args:
        config: One of the dataclasses in `deml_tf.config`.

    Returns:
        For each its name, the name of the setting that chooses the class, and the dict
        in which the classes are registered.
    """
    places = {f.name: f.metadata.get("registered") for f in dataclasses.fields(config)}
    for field in dataclasses.fields(config):
        choice = field.metadata.get("arguments_of")
        if choice is not None:
            yield field.name, choice, registered(str(places[choice]))


def constructor_settings(rule: type) -> list[Setting]:
    """Return the settings that a registered class states in its constructor.

    Arguments without a default are left out, and so are those that the program sets.

    Args:
        rule: The class.

    Raises:
        TypeError: An argument has no annotation, or one that no flag can have.
    """
    texts = _argument_texts(inspect.getdoc(rule) or "")
    settings = []
    for argument in inspect.signature(rule.__init__, eval_str=True).parameters.values():
        if argument.default is argument.empty or argument.name in _FILLED_IN:
            continue
        place = f"{rule.__name__}({argument.name}=)"
        kind, choices = _kind_and_choices(place, argument.annotation)
        text = texts.get(argument.name, f"Argument of {rule.__name__}.")
        settings.append(Setting(argument.name, kind, argument.default, text, choices))
    return settings


def _kind_and_choices(place: str, annotation: Any) -> tuple[type, Any]:
    """Read `int | None`, `tuple[int, ...]` or `Literal["a", "b"]` for a flag."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (annotation,) = (
            a for a in typing.get_args(annotation) if a is not types.NoneType
        )
    if typing.get_origin(annotation) is Literal:
        return str, typing.get_args(annotation)
    if annotation == tuple[int, ...]:
        return tuple, None
    if annotation not in _KINDS:
        raise TypeError(
            f"{place} is annotated with {annotation}, which no flag can have: use "
            "bool, int, float, str or a Literal of strings."
        )
    return annotation, None


def _argument_texts(docstring: str) -> dict[str, str]:
    """Find the text of each argument in the section Args of a docstring."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)*)", docstring, re.MULTILINE)
    found = re.findall(
        r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", section[1] if section else "", re.MULTILINE
    )
    return {name: " ".join(text.split()) for name, text in found}
