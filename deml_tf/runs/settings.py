"""The settings of a run, read from its flagfile, whatever version wrote it."""

from collections.abc import Iterable

from absl import flags

from deml_tf.cli.flags import as_flags, define_flags, drop_not_chosen, read_configs
from deml_tf.cli.parsing import parse
from deml_tf.cli.settings import argument_fields, constructor_settings
from deml_tf.config import CONFIGS, Configs, baseline_arguments
from deml_tf.errors import UsageError
from deml_tf.runs.flagfile import flag_text, renamed_lines


def read_settings(lines: Iterable[str]) -> Configs:
    """Read the settings from the lines of a run's flagfile.

    Args:
        lines: Lines written by this version or an older one.

    Raises:
        UsageError: They are not what a training writes.
    """
    values = flags.FlagValues()
    define_flags(*CONFIGS, flag_values=values)
    _, *words = parse(values, ["", *renamed_lines(lines)])
    if words:
        raise UsageError(f"{words[0]!r} is no flag")
    drop_not_chosen(values)
    return read_configs(values)


def meaning(lines: Iterable[str]) -> dict[str, str]:
    """Return the value of every flag that the lines of a flagfile give or leave out.

    Two flagfiles of different versions have the same meaning if they differ only in
    names, or in flags that one of them leaves at their defaults.

    Args:
        lines: Lines written by this version or an older one.

    Returns:
        Values by name, as text; constructor arguments only of the chosen classes.

    Raises:
        UsageError: They are not what a training writes.
    """
    configs = read_settings(lines)
    known = {**_constructor_defaults(configs), **as_flags(*configs)}
    return {n: flag_text(n, value) for n, value in known.items() if value is not None}


# These say how scores are computed, not what is scored: memory may call for others.
MAY_CHANGE = {"scoring_batch_size"}


def changed_flags(configs: Configs) -> dict[str, str]:
    """Return the flags that are not at their default: what a run is, but for its seed.

    Flags that may change during a run are left out as well.

    A later version that adds a flag returns the same for an older run.

    Args:
        configs: The run's settings.

    Returns:
        Values by name, as text, in order of the names.

    Raises:
        UsageError: A value does not fit on a line of a flagfile.
    """
    defaults = as_flags(*(type(config)() for config in configs))
    defaults |= _constructor_defaults(configs)
    return {
        name: flag_text(name, value)
        for name, value in sorted(as_flags(*configs).items())
        if value is not None
        and value != defaults.get(name)
        and name not in {"seed", *MAY_CHANGE}
    }


def _constructor_defaults(configs: Configs) -> dict[str, object]:
    """Return the defaults of the chosen classes' arguments, by flag name."""
    defaults = {}
    for config in configs:
        for _, choice, rules in argument_fields(type(config)):
            chosen = getattr(config, choice)
            kind, model = rules[chosen], configs.model
            own = {each.name: each.default for each in constructor_settings(kind)}
            own |= baseline_arguments(kind, model.scales, model.learners)
            defaults |= {f"{chosen}_{name}": value for name, value in own.items()}
    return defaults
