"""What the runs of a study show together: means, intervals and differences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from deml_tf.studies.intervals import Estimate, estimate, paired_difference
from deml_tf.studies.plan import Variant
from deml_tf.studies.records import Record


class Row(NamedTuple):
    """What the runs of one variant show.

    Attributes:
        name: Name of the variant.
        flags: Its own flags, as written.
        reference: The variant that it is compared with; None for none.
        runs: The records of its runs, by seed.
        means: Estimates over its seeds, by name of the number.
        differences: Estimates of the paired differences to its reference, likewise.
    """

    name: str
    flags: tuple[str, ...]
    reference: str | None
    runs: dict[int, Record]
    means: dict[str, Estimate]
    differences: dict[str, Estimate]

    def values(self, number: str) -> dict[int, float]:
        """Return a number of its runs, by seed."""
        return _values(self.runs.values(), number)


def summarise(
    variants: Sequence[Variant], seeds: Sequence[int], records: Iterable[Record]
) -> list[Row]:
    """Return a row for each variant, in order.

    Args:
        variants: Variants of the study.
        seeds: Seeds of the study.
        records: Records of finished runs; those of other variants, seeds or flags are
            left out.
    """
    runs = {variant.name: {} for variant in variants}
    wanted = {variant.name: variant.flags for variant in variants}
    for record in sorted(records, key=lambda record: record.seed):
        if record.seed in seeds and wanted.get(record.variant) == record.flags:
            runs[record.variant][record.seed] = record
    return [_row(variant, runs) for variant in variants]


def facts(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the content of rows for JSON.

    Args:
        rows: Rows of a study.

    Returns:
        For each variant its name, flags and reference, `means` and `differences`: for
        each number `n`, `mean`, `deviation`, `low` and `high`, of which the last three
        are null for one seed.
    """
    return [
        {
            "variant": row.name,
            "flags": list(row.flags),
            "reference": row.reference,
            "means": {name: e._asdict() for name, e in row.means.items()},
            "differences": {name: e._asdict() for name, e in row.differences.items()},
        }
        for row in rows
    ]


def _values(runs: Iterable[Record], number: str) -> dict[int, float]:
    return {run.seed: run.numbers[number] for run in runs if number in run.numbers}


def _row(variant: Variant, runs: Mapping[str, dict[int, Record]]) -> Row:
    own = runs[variant.name].values()
    means, differences = {}, {}
    for name in dict.fromkeys(name for run in own for name in run.numbers):
        values = _values(own, name)
        means[name] = estimate(values.values())
        if variant.reference is not None:
            reference = _values(runs[variant.reference].values(), name)
            difference = paired_difference(values, reference)
            if difference is not None:
                differences[name] = difference
    return Row(
        variant.name,
        variant.own,
        variant.reference,
        runs[variant.name],
        means,
        differences,
    )
