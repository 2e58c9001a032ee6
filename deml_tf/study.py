"""Trains variants with several seeds: `python -m deml_tf.study --flagfile=STUDY.cfg`.

A study is a flagfile with the training flags that all variants share, and a line for
each variant:

    --variant=NAME: --flag=value --flag=value

or `--variant=NAME @REFERENCE: ...` for one with a reference of its own. Each variant is
trained with each seed in a folder of its own, and scored once. The page shows means,
their intervals over seeds, and paired differences to the reference.

A study can be interrupted at any time, or with --hours after some time: the same
command resumes it. Its study.json holds all that the page needs, so that finished runs
stay finished when their folders are gone.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from absl import flags

from deml_tf.cli.command import console, no_words, run
from deml_tf.cli.flags import define, define_flags
from deml_tf.cli.printing import say, so_many
from deml_tf.cli.settings import Setting
from deml_tf.config import CONFIGS, Configs, DataConfig, DistributionConfig
from deml_tf.data.data_folder import data_path
from deml_tf.data.sets import find_set
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import check_used
from deml_tf.reports.study_page import StudyFacts, write_study
from deml_tf.reports.study_table import study_table
from deml_tf.runs.atomic import check_output, check_tensorflow_path
from deml_tf.studies.extra_scores import read_extra_scores
from deml_tf.studies.plan import (
    PAGE,
    RECORDS,
    PlannedRun,
    common_flags,
    of_variant,
    planned_runs,
    read_seeds,
    read_variants,
)
from deml_tf.studies.progress import StudyProgress
from deml_tf.studies.records import Record, unlike_tests
from deml_tf.studies.standing import require_own_flags, set_aside, what_stands
from deml_tf.studies.study_file import StudyFile
from deml_tf.studies.train_runs import train_runs
from deml_tf.training.build import check_choices
from deml_tf.training.start import check_new, check_settings

FLAGS = flags.FLAGS
_MOST_NAMED = 4  # runs named on one line
SETTINGS = (
    Setting("study_dir", Path, None, "Folder of the study and of its runs."),
    Setting(
        "variant",
        list,
        None,
        "Variant to train, as NAME: --flag=value --flag=value, or NAME @REFERENCE: "
        "... to compare it with another reference; repeated for each variant.",
    ),
    Setting(
        "seeds",
        str,
        "0,1,2",
        "Seeds that each variant is trained with, separated by commas.",
    ),
    Setting(
        "reference",
        str,
        None,
        "Name of the variant that the others are compared with; by default the first.",
    ),
    Setting(
        "hours",
        float,
        None,
        "Number of hours after which the study stops; the same command resumes it. By "
        "default it does not stop early.",
        above=0.0,
    ),
    Setting(
        "parallel",
        int,
        1,
        "Number of runs that train at the same time and share the cores.",
        at_least=1,
        at_most=64,
    ),
    Setting(
        "output",
        Path,
        None,
        "Folder of study.json and study.html; by default the study's folder.",
    ),
    Setting(
        "also_score",
        list,
        None,
        "Further scores of each run, beside those of its unseen classes: seen (the "
        "classes trained on), attributes (what linear probes read of Plumage's "
        "birds), or a layout as in deml_tf.evaluate: shifted, cluttered, several, "
        "empty; may be repeated.",
    ),
    Setting(
        "summary_only",
        bool,
        False,
        "Whether to train nothing and only write the table and the page of the "
        "results so far.",
    ),
)


def main(arguments: Sequence[str]) -> None:
    """Train what is left, and write the records, the table and the page."""
    no_words(arguments)
    if not FLAGS.study_dir:
        raise UsageError("--study_dir is missing: give it, or a --flagfile with it.")
    folder, output = Path(FLAGS.study_dir), Path(FLAGS.output or FLAGS.study_dir)
    page = output / PAGE
    for path in (output / RECORDS, page):
        check_output("output", path)
    common, seeds = common_flags(FLAGS), read_seeds(FLAGS.seeds)
    variants = read_variants(FLAGS.variant or (), common, FLAGS.reference)
    tf.config.set_visible_devices([], "GPU")  # whose memory the runs need
    for variant in () if FLAGS.summary_only else variants:
        with of_variant(variant.name):
            check(variant.configs)
    also = read_extra_scores(FLAGS.also_score or (), variants)
    file = StudyFile(output / RECORDS, variants, seeds, common)
    runs = list(planned_runs(variants, seeds, folder))
    left, failed = _train(runs, file, also)
    rows = file.rows()
    warnings = unlike_tests(r for row in rows for r in row.runs.values())
    write_study(
        page,
        rows,
        StudyFacts(
            title=folder.absolute().name,
            command=shlex.join(["python", "-m", "deml_tf.study", *sys.argv[1:]]),
            common=common,
            seeds=seeds,
            left=[run.name for run in left],
            failed=[run.name for run in failed],
            warnings=warnings,
        ),
    )
    for said in warnings:
        say(f"WARNING: {said}.")
    console().print(study_table(rows))
    say(f"Study: {page}")
    of_all = f"of {so_many(len(runs), 'run', 'runs')}"
    if left:
        are, them = ("is", "it") if len(left) == 1 else ("are", "them")
        command = "the same command" + " without --summary_only" * FLAGS.summary_only
        say(
            f"{len(left)} {of_all} {are} left ({_names(left)}): {command} goes on with "
            f"{them}."
        )
    if failed:
        them = "it" if len(failed) == 1 else "them"
        raise DataError(
            f"{len(failed)} {of_all} failed ({_names(failed)}): see what was said "
            f"above; the same command tries {them} again."
        )


def check(configs: Configs) -> None:
    """Refuse, before any run begins, what each run of a variant would refuse.

    Args:
        configs: Settings of the variant.

    Raises:
        UsageError: A setting is wrong.
        DataError: A preset of the backbone cannot be fetched or read.
    """
    data = configs.data
    if not data.dataset:
        raise UsageError("dataset is missing: give it beside the variants.")
    if find_set(data.dataset).needs_data_dir and not data.data_dir:
        raise UsageError("data_dir is missing: give it beside the variants.")
    check_settings(configs)
    check_used(configs.model)
    check_choices(configs.model, configs.loss, configs.train)


def check_data_dir(data: DataConfig) -> None:
    """Refuse to begin if there are no images.

    Args:
        data: Data settings of a variant with runs that are left.

    Raises:
        UsageError: There is nothing at `data_dir`.
    """
    dataset = find_set(data.dataset)
    if dataset.needs_data_dir and not dataset.makes_data_dir:
        data_path(data)


def _train(
    runs: Sequence[PlannedRun], file: StudyFile, also: Sequence[str]
) -> tuple[list[PlannedRun], list[PlannedRun]]:
    """Train what is not done yet; return what is left then, and what failed."""
    only = FLAGS.summary_only
    standing = what_stands(runs, file, () if only else also)
    if standing.left and not only:
        check_tensorflow_path("study_dir", FLAGS.study_dir)
    for left in () if only else standing.left:
        with of_variant(left.variant.name):
            if not left.folder.flags_path.exists():
                check_new(left.variant.configs)
            check_data_dir(left.variant.configs.data)
    file.keep(*standing.records)
    for old, changes, is_in_the_way in standing.outdated:
        said = "it is left out" if only else "it is trained anew"
        if is_in_the_way and not only:
            said += f", and its old folder is now {set_aside(old)}"
        say(f"WARNING: {old.name} was trained with other flags ({changes}): {said}")
    if only:
        return standing.left, []
    with StudyProgress(len(runs), len(standing.records)) as progress:

        def keep(trained: PlannedRun, peak: float | None) -> Record:
            require_own_flags(trained)
            record = file.read(trained, peak)
            file.keep(record)
            return record

        return train_runs(
            standing.left,
            keep,
            progress,
            parallel=FLAGS.parallel,
            seconds=FLAGS.hours and 3600 * FLAGS.hours,
            also=also,
        )


def _names(runs: Sequence[PlannedRun]) -> str:
    """Name the first few runs of a list."""
    names = [run.name for run in runs[:_MOST_NAMED]]
    if len(runs) > len(names):
        names.append(f"and {len(runs) - len(names)} more")
    return "; ".join(names)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-study`."""
    define_flags(*CONFIGS, DistributionConfig)
    define(*SETTINGS)
    run(main, "Interrupted; the same command goes on with the runs that are left.")


if __name__ == "__main__":
    cli()
