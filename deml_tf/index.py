"""Makes embeddings searchable: `python -m deml_tf.index --embeddings=D --output=I`."""

import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from deml_tf.bulk.index_builder import build_index
from deml_tf.bulk.index_change import change_index
from deml_tf.bulk.index_kind import IndexKind
from deml_tf.bulk.kinds import KINDS, RULE, kind_for
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.cli.command import no_words, run
from deml_tf.cli.flags import choice_settings, define, refuse_not_chosen
from deml_tf.cli.printing import say, so_many
from deml_tf.cli.settings import Setting, constructor_settings
from deml_tf.data.regular_files import open_regular
from deml_tf.errors import DataError, UsageError, arguments_of

FLAGS = flags.FLAGS


def main(arguments: Sequence[str]) -> None:
    """Build an index, or change one."""
    no_words(arguments)
    started = time.monotonic()
    if not FLAGS.output:
        raise UsageError("--output is missing: name the folder of the index.")
    if FLAGS.add or FLAGS.remove:
        parameters = (setting.name for setting in choice_settings("kind", KINDS))
        for name in ("embeddings", "kind", *parameters):
            if FLAGS[name].value is not None and FLAGS[name].present:
                raise UsageError(
                    f"{name}={FLAGS[name].value} is for a new index, and --add and "
                    "--remove change one: leave one of them out."
                )
        removed = read_list(FLAGS.remove) if FLAGS.remove else []
        added = ShardReader(FLAGS.add, "add") if FLAGS.add else None
        description = change_index(FLAGS.output, added, removed)
    else:
        if not FLAGS.embeddings:
            raise UsageError(
                "--embeddings is missing: name the folder that python -m deml_tf.embed "
                "has written, or give --add or --remove."
            )
        if FLAGS.kind:
            refuse_not_chosen("kind", KINDS, FLAGS.kind, FLAGS)
            read_parameters(FLAGS.kind)
        shards = ShardReader(FLAGS.embeddings)
        kind = FLAGS.kind or kind_for(shards.count)
        refuse_not_chosen("kind", KINDS, kind, FLAGS)
        description = build_index(shards, FLAGS.output, kind, read_parameters(kind))
    say(
        f"{FLAGS.output}: {so_many(description.count, 'image', 'images')}, "
        f"{description.kind}, in {time.monotonic() - started:.0f} s."
    )


def read_list(path: str) -> list[str]:
    r"""Read the paths in a text file, one on each line; empty lines are skipped.

    Args:
        path: The file. Bytes that are not UTF-8 become text such as `\xe9`, as they do
            in an index.

    Raises:
        UsageError: It cannot be read.
        DataError: It names no path.
    """
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8-sig", errors="backslashreplace")
    except OSError as error:
        raise UsageError(
            f"remove={path} cannot be read ({error.strerror}): give a text file with "
            "one path a line."
        ) from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not any(lines):
        raise DataError(f"remove={path} is empty: write one path a line.")
    return [line for line in lines if line]


def read_parameters(kind: str) -> IndexKind:
    """Make a kind of index with the parameters that flags give.

    Args:
        kind: A key of `KINDS`.

    Raises:
        UsageError: A parameter is out of its range.
    """
    names = [setting.name for setting in constructor_settings(KINDS[kind])]
    with arguments_of(kind, names):
        return KINDS[kind](**{name: FLAGS[f"{kind}_{name}"].value for name in names})


SETTINGS = (
    Setting(
        "embeddings",
        Path,
        None,
        "Folder that python -m deml_tf.embed has written, from which an index is "
        "built.",
    ),
    Setting(
        "output",
        Path,
        None,
        "Folder of the index. An existing index is replaced once the new one is "
        "complete.",
    ),
    Setting("kind", str, None, f"Kind of index; {RULE}.", tuple(KINDS)),
    Setting(
        "add",
        Path,
        None,
        "Folder of embeddings by the same export, which are added to the index in "
        "--output.",
    ),
    Setting(
        "remove",
        Path,
        None,
        "Text file of paths, one a line, whose images are removed from the index in "
        "--output, before --add; not possible with hnsw.",
    ),
)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-index`."""
    define(*SETTINGS, *choice_settings("kind", KINDS))
    run(main)


if __name__ == "__main__":
    cli()
