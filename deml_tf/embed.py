"""Embeds many images: `python -m deml_tf.embed --export=E --images=I --output=O`."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from deml_tf.bulk.description import describe, refuse_other, write_description
from deml_tf.bulk.embed_shards import embed_shards
from deml_tf.bulk.listed_images import list_images
from deml_tf.bulk.progress import EmbeddingProgress
from deml_tf.bulk.ray_engine import RayCluster
from deml_tf.bulk.served_export import (
    ServedExport,
    read_export,
    warn_of_other_version,
)
from deml_tf.bulk.shard_plan import ShardPlan, read_part
from deml_tf.bulk.whole_shards import invalid_images, missing_shards
from deml_tf.cli import command
from deml_tf.cli.flags import define
from deml_tf.cli.printing import say, so_many
from deml_tf.cli.settings import Setting
from deml_tf.errors import UsageError
from deml_tf.runs.atomic import check_output_folder

FLAGS = flags.FLAGS
_WORKERS = 2
_MOST_LISTED = 20  # images named on the screen; the shards name all


def main(arguments: Sequence[str]) -> None:
    """Check the flags, list the images, embed what is missing, report."""
    command.no_words(arguments)
    for name in ("export", "images", "output"):
        if not FLAGS[name].value:
            raise UsageError(f"--{name} is missing: {FLAGS[name].help}")
    if FLAGS.workers and FLAGS.engine != "ray":
        raise UsageError(
            f"workers={FLAGS.workers} is for engine=ray: give both or neither."
        )
    part = read_part(FLAGS.part)
    output = Path(FLAGS.output)
    check_output_folder("output", output)
    folder = Path(FLAGS.export)
    # Ray's actors run in folders of their own.
    export = read_export(folder.absolute() if FLAGS.engine == "ray" else folder)
    warn_of_other_version(export)
    images = list_images(FLAGS.images)
    plan = ShardPlan(len(images), FLAGS.shard_size, FLAGS.batch_size)
    about = describe(export, images, plan)
    refuse_other(output, about)
    shards = plan.part(*part)
    missing = missing_shards(output, shards, plan, export.weights_sha256)
    progress = None
    if missing:
        total = sum(len(plan.rows(shard)) for shard in missing)
        work = (images, plan, missing, output)
        if FLAGS.engine == "ray":
            with RayCluster(FLAGS.workers or _WORKERS) as cluster:
                write_description(output, about)
                with EmbeddingProgress(total) as progress:
                    cluster.embed_shards(export, *work, progress)
        else:
            served = ServedExport(export)
            write_description(output, about)
            with EmbeddingProgress(total) as progress:
                embed_shards(served, *work, progress)
    report(output, plan, shards, progress)


def report(
    output: Path,
    plan: ShardPlan,
    shards: Sequence[int],
    progress: EmbeddingProgress | None,
) -> None:
    """Name the images that are not valid, and print how many of all there are.

    Args:
        output: The folder of the shards.
        plan: Which image is in which shard.
        shards: Numbers of the shards of this process.
        progress: Progress of what was embedded; None if all shards existed before.
    """
    of_all = f"of {so_many(plan.shards, 'shard', 'shards')}"
    if not shards:
        say(f"part={FLAGS.part} holds 0 {of_all}: nothing to do.")
        return
    invalid = 0
    for path, reason in invalid_images(output, shards):
        invalid += 1
        if invalid <= _MOST_LISTED:
            say(f"not valid: {path}: {reason}")
    if invalid > _MOST_LISTED:
        say(f"... and {invalid - _MOST_LISTED:,} more, which the shards name")
    images = sum(len(plan.rows(shard)) for shard in shards)
    facts = [f"{so_many(images, 'image', 'images')} in {len(shards)} {of_all}"]
    facts.append(f"{invalid:,} not valid")
    if progress is None:
        facts.append("all there before")
    else:
        if progress.total < images:
            facts.append(f"{progress.total:,} embedded now")
        facts.append(f"{progress.rate:.1f} images/s")
    say(f"{', '.join(facts)}: {output}")


SETTINGS = (
    Setting(
        "export",
        Path,
        None,
        "Version folder of an export for TensorFlow Serving, such as "
        "export/models/NAME/1.",
    ),
    Setting(
        "images",
        Path,
        None,
        "A folder, at any depth; a CSV list with the column path, and label if there "
        "are labels; or a quoted pattern, such as 'photos/**/*.jpg'.",
    ),
    Setting(
        "output",
        Path,
        None,
        "Folder of the embeddings; if some are there, the same command embeds only "
        "the rest.",
    ),
    Setting(
        "shard_size",
        int,
        4096,
        "Number of images in each file of embeddings.",
        at_least=1,
    ),
    Setting("batch_size", int, 32, "Number of images embedded at once.", at_least=1),
    Setting(
        "part",
        str,
        "1/1",
        "Part K/N of the work, for the Kth of N processes or machines that share it: "
        "every Nth file, beginning with the Kth.",
    ),
    Setting(
        "engine",
        str,
        "local",
        "Place where images are embedded: local, in this process; ray, on the Ray "
        "cluster of RAY_ADDRESS or, without one, a Ray that is started on this "
        "machine. All machines of the cluster need the same paths.",
        choices=("local", "ray"),
    ),
    Setting(
        "workers",
        int,
        None,
        "Number of processes on the Ray cluster, each with an equal share of its "
        f"processors; by default {_WORKERS}.",
        at_least=1,
    ),
)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-embed`."""
    define(*SETTINGS)
    command.run(
        main,
        interrupted="Interrupted: the files of embeddings that are there are whole, "
        "and the same command goes on with the others.",
    )


if __name__ == "__main__":
    cli()
