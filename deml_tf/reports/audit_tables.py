"""The findings of an audit as tables, for the page and for the terminal."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import rich.box
import rich.table
from rich.text import Text

from deml_tf.cli.printing import printable
from deml_tf.data.duplicates import HASH_SIDE
from deml_tf.data.findings import HALVES, WHERE, count, spoilers
from deml_tf.reports import tables

HEADINGS = {
    "across_halves": "Copies in both halves",
    "two_classes": "Copies in two classes of one half",
    "one_class": "Copies within a class",
}


class Table(NamedTuple):
    """A titled table of texts: numbers beside a name, or a list of names."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    wide: bool = False  # a list: every column aligned to the left


def verdict(findings: Mapping[str, Any]) -> str:
    """Say in a sentence or two whether the test images are really unseen."""
    said = spoilers(findings)
    near = count(findings["near"], "across_halves")
    text = f"Not zero-shot: {'; '.join(said)}." if said else ""
    if not said:
        text = "No class and no file is in both halves."
    least = "" if findings["near_complete"] else "At least "
    pairs = f"{near:,} near {'copy lies' if near == 1 else 'copies lie'} across them."
    return f"{text} {least}{pairs}"


def audit_tables(findings: Mapping[str, Any]) -> list[Table]:
    """Return the tables of an audit, for the terminal and for the page.

    Args:
        findings: What `deml_tf.data.findings.find` returns.
    """
    found = [_roles(findings), _checks(findings), _copies(findings)]
    if findings["sizes"]:
        found += [_sizes(findings), _kinds(findings)]
    return found


def unreadable_table(findings: Mapping[str, Any], lines: int) -> Table:
    """Return a table of the first images that cannot be read, and why."""
    bad = findings["unreadable"]
    rows = [(one["path"], one["role"], one["problem"]) for one in bad[:lines]]
    columns = ("file", "role", "why")
    return Table("Cannot be read", columns, rows, more_of(bad, lines), wide=True)


def empty_table(findings: Mapping[str, Any], lines: int) -> Table:
    """Return a table of the first images that show nothing, and why."""
    dark = findings["dark"]
    black = {one["path"] for one in dark}
    even = [one for one in findings["even"] if one["path"] not in black]
    found = [(one, "all but black") for one in dark]
    found += [(one, "one colour") for one in even]
    rows = [(printable(one["path"]), one["role"], why) for one, why in found[:lines]]
    notes = [more_of(found, lines)] if found[lines:] else []
    notes += ["12 bits stored as 16 are black: scale them to 16 bits"] if dark else []
    columns = ("file", "role", "why")
    return Table("Images that show nothing", columns, rows, "; ".join(notes), wide=True)


def names_table(findings: Mapping[str, Any], lines: int) -> Table:
    """Return a table of classes in two roles and of names that are almost equal."""
    groups = [[shared] for shared in findings["shared_classes"]]
    groups += [group["names"] for group in findings["alike_names"]]
    rows = [
        (
            " / ".join(_quoted([name["class"] for name in group])),
            " / ".join(", ".join(name["roles"]) for name in group),
        )
        for group in groups[:lines]
    ]
    more = more_of(groups, lines)
    return Table("Classes to look at", ("class", "roles"), rows, more, wide=True)


def copies_table(findings: Mapping[str, Any], lines: int) -> Table:
    """Return a table of the first copies that lie in both halves."""
    copies = [
        (copy, badge)
        for copy, badge in badged(findings, "exact") + badged(findings, "near")
        if copy["where"] == "across_halves"
    ]
    rows = [
        (badge, *(image["path"] for image in copy["images"][:2]))
        for copy, badge in copies[:lines]
    ]
    more, columns = more_of(copies, lines), ("copy", "file", "file")
    return Table(HEADINGS["across_halves"], columns, rows, more, wide=True)


def rich_table(table: Table) -> rich.table.Table:
    """Return a table for the terminal, where [brackets] in a name are not markup."""
    printed = rich.table.Table(
        title=Text(table.title, style="bold"),
        title_justify="left",
        caption=Text(table.note) if table.note else None,
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD,
    )
    for c, name in enumerate(table.columns):
        left = not c or table.wide
        printed.add_column(
            name, justify="left" if left else "right", overflow="fold", no_wrap=False
        )
    for row in table.rows:
        printed.add_row(*(Text(printable(cell)) for cell in row))
    return printed


def badged(
    findings: Mapping[str, Any], kind: str
) -> list[tuple[Mapping[str, Any], str]]:
    """Return the exact or near copies, each with a note on how similar they are."""
    return [
        (
            copy,
            "same bytes"
            if kind == "exact"
            else f"{copy['distance']} bits{', mirrored' * copy['mirrored']}",
        )
        for copy in findings[kind]
    ]


def _quoted(names: Sequence[str]) -> list[str]:
    """Quote names, in ASCII where they would look the same."""
    looks = {unicodedata.normalize("NFC", name) for name in names}
    return [(repr if len(looks) == len(names) else ascii)(name) for name in names]


def _roles(findings: Mapping[str, Any]) -> Table:
    columns = ("", "classes", "images", "least", "median", "most", "of one")
    keys = ("classes", "images", "smallest_class", "median_class", "largest_class")
    rows = [
        (
            f"{role} ({HALVES[role]})",
            *(_count(counts[key]) for key in keys),
            _count(len(counts["classes_of_one"])),
        )
        for role, counts in findings["roles"].items()
    ]
    note = (
        "least, median, most: images of a class; of one: classes of a single "
        "image, which nothing retrieves but a gallery."
    )
    return Table("Classes and images", columns, rows, note)


def _checks(findings: Mapping[str, Any]) -> Table:
    shared, alike = findings["shared_classes"], findings["alike_names"]
    across = sum(group["across_halves"] for group in alike)
    small = findings["sizes"].get("below_input_size", 0)
    rows = [
        ("classes disjoint", f"no, {len(shared):,} are not" if shared else "yes"),
        ("class names almost equal", _count(len(alike))),
        ("of these in both halves", _count(across)),
        ("images that cannot be read", _count(len(findings["unreadable"]))),
        ("images of one even colour", _count(len(findings["even"]))),
        ("images all but black", _count(len(findings["dark"]))),
        ("images that EXIF turns", _count(findings["rotated"])),
        (f"images with a side below {findings['input_size']}", _count(small)),
    ]
    note = "almost equal: they differ in case, spaces or Unicode form alone."
    return Table("Checks", ("", "found"), rows, note)


def _copies(findings: Mapping[str, Any]) -> Table:
    rows = []
    for where, name in WHERE.items():
        near = [
            count(findings["near"], where, mirrored=mirrored)
            for mirrored in (False, True)
        ]
        exact = count(findings["exact"], where)
        rows.append((name, *map(_count, (exact, *near))))
    note = (
        "Groups of equal files, pairs of near ones: at most "
        f"{findings['near_distance']} of {HASH_SIDE**2} bits of the hash of their look "
        "differ."
    )
    if not findings["near_complete"]:
        note += (
            f" There are more pairs than these: at near_distance="
            f"{findings['near_distance']} the search ended early; give a smaller one."
        )
    columns = ("in", "equal files", "near", "near if mirrored")
    return Table("Copies", columns, rows, note)


def _sizes(findings: Mapping[str, Any]) -> Table:
    sizes = findings["sizes"]
    rows = [
        (name, *(f"{value:,.{digits}f}" for value in sizes[key]))
        for name, key, digits in (
            ("width", "width", 0),
            ("height", "height", 0),
            ("width / height", "aspect", 2),
        )
    ]
    columns = ("pixels", "least", "5 %", "median", "95 %", "most")
    return Table("Image sizes", columns, rows)


def _kinds(findings: Mapping[str, Any]) -> Table:
    rows = [(kind, _count(number)) for kind, number in findings["kinds"].items()]
    return Table("Formats", ("format and mode", "images"), rows)


def _count(number: float) -> str:
    return tables.number(number, 1) if number % 1 else f"{number:,.0f}"


def more_of(found: Sequence[object], lines: int) -> str:
    """Say how many are left after the first lines; nothing if none are."""
    return f"and {len(found) - lines:,} more" if len(found) > lines else ""
