"""What linear probes read of each attribute, as the tables of a study."""

from collections.abc import Iterator, Sequence

from deml_tf.reports import tables
from deml_tf.reports.study_table import (
    Cell,
    difference_cell,
    mean_text,
    signed_cell,
    with_half,
)
from deml_tf.studies.extra_scores import ATTRIBUTES, MEAN
from deml_tf.studies.intervals import paired_difference
from deml_tf.studies.summary import Row


def attribute_tables(
    rows: Sequence[Row],
) -> list[tuple[str, list[str], list[tuple[str, list[Cell]]]]]:
    """Return what linear probes read of each attribute.

    Args:
        rows: Rows of the study.

    Returns:
        The heading, the titles, and the lines' names and cells of each of four tables
        (of none without probes): what the whole embedding shows, after chance and the
        frozen start (that of most variants, then those that differ); its differences
        to the frozen start and to the reference, bold if their interval excludes 0; and
        what a learner's part shows, the mean over all parts.
    """
    names = dict.fromkeys(
        name.split("/")[1]
        for row in rows
        for name in row.means
        if name.startswith(f"{ATTRIBUTES}/")
    )
    if not names:
        return []
    names = [MEAN, *(name for name in names if name != MEAN)]
    titles = [name.replace("_", " ") for name in names]
    wholes = [f"{ATTRIBUTES}/{name}/whole" for name in names]
    probed = [row for row in rows if wholes[0] in row.means]
    common = [*_common_lines(probed, names, "chance", "chance")]
    common += _common_lines(probed, names, "frozen start", "frozen")
    whole = [
        (row.name, [Cell(with_half(row.means.get(number), row)) for number in wholes])
        for row in probed
    ]
    gains = [
        (row.name, [_gain(row, name) for name in names])
        for row in probed
        if f"{ATTRIBUTES}/{MEAN}/frozen" in row.means
    ]
    differences = [
        (f"{row.name} − {row.reference}", [difference_cell(row, n) for n in wholes])
        for row in probed
        if row.differences.keys() & {*wholes}
    ]
    parts = [
        (row.name, [Cell(_mean_part(row, name)) for name in names]) for row in probed
    ]
    return [
        ("Attributes that the embedding shows", titles, common + whole),
        ("Attributes: differences to the frozen start", titles, gains),
        ("Attributes: differences to what it is compared with", titles, differences),
        ("Attributes that a learner's part alone shows", titles, parts),
    ]


def _common_lines(
    rows: Sequence[Row], attributes: Sequence[str], title: str, what: str
) -> Iterator[tuple[str, list[Cell]]]:
    """Yield a line of what most rows say, and one for whatever else rows say."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        texts = (mean_text(row, f"{ATTRIBUTES}/{name}/{what}") for name in attributes)
        lines.setdefault(tuple(texts), []).append(row.name)
    most_first = sorted(lines.items(), key=lambda line: -len(line[1]))
    for place, (texts, names) in enumerate(most_first):
        suffix = f" of {', '.join(names)}" if place else ""
        yield f"{title}{suffix}", [*map(Cell, texts)]


def _gain(row: Row, attribute: str) -> Cell:
    """Write what training changed, seed by seed."""
    whole, frozen = (f"{ATTRIBUTES}/{attribute}/{what}" for what in ("whole", "frozen"))
    return signed_cell(paired_difference(row.values(whole), row.values(frozen)), row)


def _mean_part(row: Row, attribute: str) -> str:
    """Write what the parts show of an attribute on average."""
    start = f"{ATTRIBUTES}/{attribute}/parts/"
    found = [e.mean for name, e in row.means.items() if name.startswith(start)]
    return f"{sum(found) / len(found):.3f}" if found else tables.MISSING
