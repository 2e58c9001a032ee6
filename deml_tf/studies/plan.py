"""The plan of a study: its variants, their flags, and the runs in their order."""

import contextlib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from deml_tf.cli.flags import define_flags, drop_not_chosen, read_configs
from deml_tf.cli.parsing import parse
from deml_tf.config import CONFIGS, Configs, DistributionConfig
from deml_tf.errors import UsageError
from deml_tf.runs.folder import RunFolder
from deml_tf.runs.settings import changed_flags

RECORDS, PAGE = "study.json", "study.html"  # files of a study, beside its variants
_NAME = r"[A-Za-z0-9(][A-Za-z0-9_.(),-]{0,99}"
_TRAIN = "deml_tf.train"


class Variant(NamedTuple):
    """One variant of a study's training.

    Attributes:
        name: Name, of letters, digits and any of _ . - ( ) ,
        own: Its own flags, as written.
        reference: Name of the variant that it is compared with; None for none.
        configs: The settings of its runs, except for their seeds.
        arguments: Flags of `deml_tf.train`, including those common to all variants, but
            not --run_dir and --seed.
        flags: What tells its runs from those of others, see `changed_flags`.
    """

    name: str
    own: tuple[str, ...]
    reference: str | None
    configs: Configs
    arguments: tuple[str, ...]
    flags: dict[str, str]


class PlannedRun(NamedTuple):
    """One run of a study.

    Attributes:
        variant: Its variant.
        seed: Its seed.
        folder: Its folder.
    """

    variant: Variant
    seed: int
    folder: RunFolder

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def arguments(self) -> list[str]:
        """All flags of `deml_tf.train`."""
        place = f"--run_dir={self.folder.path}"
        return [*self.variant.arguments, place, f"--seed={self.seed}"]


def read_seeds(text: str) -> tuple[int, ...]:
    """Read the seeds of a study.

    Args:
        text: Such as "0,1,2".

    Raises:
        UsageError: They are not whole numbers from 0 to 2^32 - 1, or one is repeated.
    """
    found = re.fullmatch(r"\s*[0-9]{1,10}\s*(,\s*[0-9]{1,10}\s*)*", text, re.ASCII)
    seeds = [int(seed) for seed in text.split(",")] if found else []
    if not seeds or max(seeds) >= 2**32 or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"seeds={text}: give whole numbers from 0 up, each once, separated by "
            "commas."
        )
    return tuple(seeds)


def common_flags(values: flags.FlagValues) -> list[str]:
    """Return the training flags that were given to a study itself.

    Args:
        values: The flags of the study, including those of `deml_tf.train`.

    Returns:
        Each as it is written on a command line; --run_dir is left out, since the runs
        of a study have folders of their own.
    """
    names = [name for name in _training_flags() if name != "run_dir"]
    given = [values[name].serialize() for name in names if values[name].present]
    return sorted(flag for flag in given if flag)


def read_variants(
    lines: Iterable[str], common: Sequence[str], reference: str | None = None
) -> list[Variant]:
    """Read the variants of a study.

    Args:
        lines: For each variant `NAME: --flag=value --flag=value`, or `NAME @OTHER: ...`
            with a reference of its own.
        common: Training flags of all variants; a variant's own flags override them.
        reference: Name of the reference of all others; by default the first variant.

    Returns:
        The variants, in order.

    Raises:
        UsageError: A line is not a variant, or one of its flags is wrong.
    """
    parts = [_parts(line) for line in lines]
    names = [name for name, _, _ in parts]
    if not names:
        raise UsageError("No variant is given: write --variant='NAME: --flag=value'.")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"variant={name} is given {names.count(name)} times: give each its own "
                "name."
            )
    shared = names[0] if reference is None else reference
    _must_be_known(f"reference={shared}", shared, names)
    variants = []
    for name, other, own in parts:
        if other is not None:
            _must_be_known(f"variant={name} @{other}", other, names)
        beside = other or (shared if name != shared else None)
        variants.append(_read_variant(name, beside, own, common))
    return variants


@contextlib.contextmanager
def of_variant(name: str) -> Iterator[None]:
    """Have a UsageError of the block say which variant it is about.

    Args:
        name: Name of the variant.

    Raises:
        UsageError: That of the block, with the name.
    """
    try:
        yield
    except UsageError as error:
        raise UsageError(f"Variant {name}: {error}") from error


def planned_runs(
    variants: Sequence[Variant], seeds: Sequence[int], folder: str | Path
) -> Iterator[PlannedRun]:
    """Yield the runs in order of training: all variants with one seed, then the next.

    So an interrupted study has something of every variant.

    Args:
        variants: Variants of the study.
        seeds: Seeds of each variant.
        folder: Folder of the study.
    """
    for seed in seeds:
        for variant in variants:
            place = Path(folder) / variant.name / f"seed_{seed}"
            yield PlannedRun(variant, seed, RunFolder(place))


def _parts(line: str) -> tuple[str, str | None, list[str]]:
    """Split a line into name, reference and flags."""
    head, _, rest = line.partition(":")
    name, *others = head.split() or [""]
    reference = "".join(others)  # at most one
    if not re.fullmatch(_NAME, name) or not re.fullmatch(f"(@{_NAME})?", reference):
        raise UsageError(
            f"variant={line!r}: write NAME: --flag=value, or NAME @REFERENCE: "
            "--flag=value, with a name of letters, digits and _.-(), alone."
        )
    if name in (RECORDS, PAGE):
        raise UsageError(
            f"variant={name} is what a file of the study is called: give it another "
            "name."
        )
    try:
        return name, reference[1:] or None, shlex.split(rest)
    except ValueError as error:  # "No closing quotation"
        raise UsageError(
            f"variant={line!r} cannot be split into flags ({error}): close every quote."
        ) from error


def _must_be_known(given: str, reference: str, names: Sequence[str]) -> None:
    if reference not in names:
        raise UsageError(
            f"{given}: {reference!r} is no variant to compare with; give one of "
            f"{' '.join(names)}."
        )


def _read_variant(
    name: str, reference: str | None, own: Sequence[str], common: Sequence[str]
) -> Variant:
    """Parse a variant's flags together with the common ones."""
    with of_variant(name):
        values, given = _parsed([*common, *own]), _parsed(own)
        if values["seed"].present:
            raise UsageError(
                f"seed={values['seed'].value} is for one run: give the seeds of the "
                "study, such as seeds=0,1,2."
            )
        # Common flags may belong to a class that this variant replaces.
        drop_not_chosen(values, keep=[name for name in given if given[name].present])
        configs = read_configs(values)
        changed = changed_flags(configs)
    present = [flag for flag in values if values[flag].present and flag != "run_dir"]
    arguments = tuple(sorted(values[flag].serialize() for flag in present))
    return Variant(name, tuple(own), reference, configs, arguments, changed)


def _parsed(arguments: Sequence[str]) -> flags.FlagValues:
    values = _training_flags()
    hint = f"see python -m {_TRAIN} --help for all"
    _, *words = parse(values, ["", *arguments], _TRAIN, hint)
    if words:
        raise UsageError(f"{words[0]!r} is no flag: flags start with --.")
    return values


def _training_flags() -> flags.FlagValues:
    values = flags.FlagValues()
    define_flags(*CONFIGS, DistributionConfig, flag_values=values)
    return values
