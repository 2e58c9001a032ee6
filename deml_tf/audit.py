"""Audits a split: `python -m deml_tf.audit --dataset=D --data_dir=P`."""

import contextlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from rich.text import Text

from deml_tf.cli.command import console, no_words, run
from deml_tf.cli.flags import define, define_flags, from_flags
from deml_tf.cli.printing import printable, say
from deml_tf.cli.settings import Setting
from deml_tf.config import DataConfig
from deml_tf.data.duplicates import HASH_SIDE, NEAR, fingerprints
from deml_tf.data.example import Example
from deml_tf.data.findings import HALVES, find, spoilers
from deml_tf.data.selection import read_examples, read_split
from deml_tf.data.sets import find_set
from deml_tf.errors import DataError, UsageError
from deml_tf.reports import audit_tables
from deml_tf.reports.audit_page import write_audit
from deml_tf.runs.atomic import check_output, is_written_into, write_atomically
from deml_tf.runs.json_text import json_text

FLAGS = flags.FLAGS
LINES = 10  # lines of a printed list
_BEGINNING = re.compile(rb'\{\n "dataset": .*\n "data_dir": .*\n "refusal": ')


def main(arguments: Sequence[str]) -> None:
    """Read every image, print what was found, write the page and the JSON."""
    no_words(arguments)
    data = from_flags(DataConfig, FLAGS)
    missing = "is missing: say which images to look over."
    if not data.dataset:
        raise UsageError(f"--dataset {missing}")
    if not data.data_dir and find_set(data.dataset).needs_data_dir:
        raise UsageError(f"--data_dir {missing}")
    for name in ("crop_to_box", "bad_images"):
        if FLAGS[name].present:
            raise UsageError(
                f"--{name} is for trainings: leave it out, for an audit looks at whole "
                "files, and lists all that cannot be read."
            )
    page, document = _outputs()

    roles, refusal = read_roles(data, FLAGS.seed)
    paths = [example.path for examples in roles.values() for example in examples]
    facts = {"dataset": data.dataset, "data_dir": data.data_dir, "refusal": refusal}
    findings = facts | find(
        roles,
        fingerprints(paths, progress="reading"),
        near_distance=FLAGS.near_distance,
        input_size=FLAGS.input_size,
    )

    place = data.data_dir or data.dataset
    if document:
        write_atomically(document, json_text(findings, indent=1).encode())
    if page:
        write_audit(page, findings, title=f"Audit of {place}", shown=FLAGS.pairs)
    _print(findings)
    for title, path in (("Findings", document), ("Page", page)):
        if path:
            say(f"{title}: {path}")
    if FLAGS.strict and (said := spoilers(findings)):
        raise DataError(
            f"{place} is no zero-shot split: {'; '.join(said)}; take them out of one "
            "half, or leave --strict away."
        )


def read_roles(
    data: DataConfig, seed: int
) -> tuple[Mapping[str, Sequence[Example]], str | None]:
    """Read a split, even one that training refuses.

    Args:
        data: Names the images.
        seed: Seed of the choice of validation classes.

    Returns:
        The examples by role, and the sentence with which training refuses them; None
        if it does not.

    Raises:
        DataError: There is no list of images to audit, or it gives no roles.
    """
    try:
        split = read_split(data, seed)
    except DataError as error:
        with contextlib.redirect_stdout(io.StringIO()):  # printed already
            examples = read_examples(data)  # or raises the same
        if any(_role(example) not in HALVES for example in examples):
            raise
        listed = {r: [e for e in examples if _role(e) == r] for r in HALVES}
        return listed, str(error)
    return {role: getattr(split, role, ()) for role in HALVES}, None


def _role(example: Example) -> str | None:
    """Return the role in a `Split`: queries of a gallery are the test images."""
    return "test" if example.split == "query" else example.split


def _outputs() -> tuple[Path | None, Path | None]:
    """Return the page and the JSON file to write, checked before the long work."""
    page = Path(FLAGS.output) if FLAGS.output else None
    document = Path(FLAGS.json) if FLAGS.json else None
    if page:
        check_output("output", page)
        if not document and not is_written_into(page):
            document = page.with_suffix(".json")
    if document:
        check_output("json", document)
    if page and document and os.path.realpath(page) == os.path.realpath(document):
        raise UsageError(
            f"--output={page} is where the JSON goes: name the page .html, or another "
            "file with --json."
        )
    if document and not FLAGS.json and document.is_file() and not _is_audit(document):
        raise UsageError(
            f"--output={page}: its findings would replace {document}, which no audit "
            "has written: name another file with --json."
        )
    return page, document


def _is_audit(document: Path) -> bool:
    """Tell whether a file is the JSON of an earlier audit."""
    with contextlib.suppress(OSError), document.open("rb") as file:
        return bool(_BEGINNING.match(file.read(2**16)))
    return False


def _print(findings: Mapping[str, Any]) -> None:
    terminal = console()
    lists = [
        audit_tables.names_table(findings, LINES),
        audit_tables.unreadable_table(findings, LINES),
        audit_tables.empty_table(findings, LINES),
        audit_tables.copies_table(findings, LINES),
    ]
    shown = [listed for listed in lists if listed.rows]
    for table in audit_tables.audit_tables(findings) + shown:
        terminal.print(audit_tables.rich_table(table))
    terminal.print(Text(audit_tables.verdict(findings), style="bold"))
    if findings["refusal"]:
        terminal.print(
            Text(printable(f"Training refuses this split: {findings['refusal']}"))
        )


SETTINGS = (
    Setting("seed", int, 0, "Seed of the choice of validation classes.", at_least=0),
    Setting(
        "near_distance",
        int,
        NEAR,
        f"Largest number of the {HASH_SIDE**2} bits of a perceptual hash in which near "
        "copies differ; photographs of different scenes differ in about 62 or more.",
        at_least=0,
        at_most=HASH_SIDE**2 // 2,
    ),
    Setting(
        "input_size",
        int,
        224,
        "Side in pixels; images with a shorter side are reported.",
        at_least=1,
    ),
    Setting("output", Path, None, "HTML page to write; by default none."),
    Setting(
        "json",
        Path,
        None,
        "JSON file of all findings; by default beside the page, if there is one.",
    ),
    Setting(
        "pairs",
        int,
        60,
        "Largest number of groups or pairs of copies, of each kind, that the page "
        "shows.",
        at_least=0,
    ),
    Setting(
        "strict",
        bool,
        False,
        "Whether to exit with status 1 if a class has two roles, or if both halves "
        "have equal files, or class names that differ only in case, blanks or Unicode "
        "form.",
    ),
)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-audit`."""
    define_flags(DataConfig)
    define(*SETTINGS)
    run(main)


if __name__ == "__main__":
    cli()
