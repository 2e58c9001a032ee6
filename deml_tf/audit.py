"""Looks a split over: `python -m deml_tf.audit --dataset=D --data_dir=P`."""

import json
from pathlib import Path

from absl import flags
from rich import box
from rich.table import Table
from rich.text import Text

from deml_tf.cli import command
from deml_tf.cli.flags import define_flags, from_flags
from deml_tf.config import DataConfig
from deml_tf.data.duplicates import HASH_SIDE, NEAR, fingerprints
from deml_tf.data.findings import HALVES, find, spoilers
from deml_tf.data.selection import read_examples, read_split
from deml_tf.data.sets import find_set
from deml_tf.errors import DataError, UsageError
from deml_tf.reports import audit_page
from deml_tf.runs.atomic import check_output, write_atomically

FLAGS = flags.FLAGS
LINES = 10  # of a printed list


def main(arguments):
    """Reads every image, prints what was found, writes the page and the JSON."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    data = from_flags(DataConfig, FLAGS)
    for name in ("dataset", "data_dir"):
        if not getattr(data, name) and (
            name == "dataset" or find_set(data.dataset).needs_data_dir
        ):
            raise UsageError(f"--{name} is missing: say which images to look over.")
    page, document = _outputs()

    roles, refusal = read_roles(data, FLAGS.seed)
    paths = [example.path for examples in roles.values() for example in examples]
    findings = {
        "dataset": data.dataset,
        "data_dir": data.data_dir,
        "refusal": refusal,
        **find(
            roles,
            fingerprints(paths, progress="reading"),
            near_distance=FLAGS.near_distance,
            input_size=FLAGS.input_size,
        ),
    }

    _print(findings)
    if document:
        write_atomically(document, json.dumps(findings, indent=1).encode())
        print(f"Findings: {document}")
    if page:
        title = f"Audit of {data.data_dir or data.dataset}"
        audit_page.write_audit(page, findings, title=title, shown=FLAGS.pairs)
        print(f"Page: {page}")
    if FLAGS.strict and (said := spoilers(findings)):
        raise DataError(
            f"{data.data_dir or data.dataset} is no zero-shot split: "
            f"{'; '.join(said)}; take them out of one half, or leave --strict away."
        )


def read_roles(data, seed):
    """Reads a split, also one that training refuses.

    Args:
        data: The `DataConfig`.
        seed: Of the choice of validation classes.

    Returns:
        The examples by role, and the sentence with which training refuses them; None
        if it does not.

    Raises:
        DataError: There is no list to look over, or it gives no roles.
    """
    try:
        split = read_split(data, seed)
    except DataError as error:
        examples = read_examples(data)  # or raises the same
        if any(_role(example) not in HALVES for example in examples):
            raise
        listed = {r: [e for e in examples if _role(e) == r] for r in HALVES}
        return listed, str(error)
    return {role: getattr(split, role, ()) for role in HALVES}, None


def _role(example):
    """As a `Split` has it: queries are the test images where there is a gallery."""
    return "test" if example.split == "query" else example.split


def _outputs():
    """Page and JSON to write, checked before the long work."""
    page = Path(FLAGS.output) if FLAGS.output else None
    document = Path(FLAGS.json) if FLAGS.json else page and page.with_suffix(".json")
    for name, path in (("output", page), ("json", document)):
        if path:
            check_output(name, path)
    if page and page == document:
        raise UsageError(
            f"--output={page} is where the JSON goes: name the page .html, or another "
            "file with --json."
        )
    return page, document


def _print(findings):
    console = command.console()
    found = audit_page.audit_tables(findings)
    lists = [
        audit_page.names_table(findings, LINES),
        audit_page.unreadable_table(findings, LINES),
        audit_page.copies_table(findings, LINES),
    ]
    for table in found + [listed for listed in lists if listed.rows]:
        console.print(_rich(table))
    console.print(Text(audit_page.verdict(findings), style="bold"))
    if findings["refusal"]:
        refusal = audit_page.printable(findings["refusal"])
        console.print(Text(f"Training refuses this split: {refusal}"))


def _rich(table):
    """Cells as texts: what stands in [brackets] in a name is no markup."""
    printed = Table(
        title=Text(table.title, style="bold"),
        title_justify="left",
        caption=Text(table.note) if table.note else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for c, name in enumerate(table.columns):
        left = not c or table.wide
        printed.add_column(
            name, justify="left" if left else "right", overflow="fold", no_wrap=False
        )
    for row in table.rows:
        printed.add_row(*map(Text, row))
    return printed


def cli():
    """Defines the flags and runs: what `deml-tf-audit` starts."""
    define_flags(DataConfig)
    flags.DEFINE_integer("seed", 0, "Of the choice of validation classes.", 0)
    flags.DEFINE_integer(
        "near_distance",
        NEAR,
        f"Bits of the {HASH_SIDE**2} of a perceptual hash in which near copies differ "
        "at most; photographs of different scenes begin at about 62.",
        0,
        HASH_SIDE**2 // 2,
    )
    flags.DEFINE_integer(
        "input_size", 224, "Images with a side below this are counted, pixels.", 1
    )
    flags.DEFINE_string("output", None, "HTML page to write; default none.")
    flags.DEFINE_string(
        "json", None, "JSON file of all findings; default beside the page."
    )
    flags.DEFINE_integer("pairs", 60, "Copies of each kind that the page shows.", 0)
    flags.DEFINE_bool(
        "strict",
        False,
        "Exit with status 1 if classes or equal files are in both halves.",
    )
    command.run(main)


if __name__ == "__main__":
    cli()
