"""Makes a run's embedder servable: `python -m deml_tf.export --run_dir=R`."""

import os
import time
from pathlib import Path

import tensorflow as tf
from absl import flags

from deml_tf.cli import command
from deml_tf.cli.flags import define
from deml_tf.cli.printing import say
from deml_tf.cli.settings import Setting
from deml_tf.errors import UsageError
from deml_tf.models.embedder import core_of, scales_and_learners
from deml_tf.models.parts import chosen, precision_of
from deml_tf.serving import threshold, version_folder, warmup
from deml_tf.serving.formats import FORMATS, check_format
from deml_tf.serving.hub import check_hub, push
from deml_tf.serving.parity import BOUNDS
from deml_tf.serving.publish import publish
from deml_tf.serving.source import Choice, Source, read_source
from deml_tf.serving.study_scores import scores_over_seeds

FLAGS = flags.FLAGS
MODELS = Path("export") / "models"
WARMUP_REQUESTS = 4  # of each batch size


def main(arguments: list[str]) -> None:
    """Check the flags, then export."""
    command.no_words(arguments)
    started = time.monotonic()
    tf.config.set_visible_devices([], "GPU")  # parity is that of float32 on CPUs
    threshold.check_rate(FLAGS.false_accept_rate)
    if not FORMATS[FLAGS.format].file:
        warmup.check_warmup(_warmup_requests())
    elif FLAGS.warmup_requests:
        raise UsageError(
            f"warmup_requests={FLAGS.warmup_requests} is not for format="
            f"{FLAGS.format}, for only a server is warmed up: leave it out."
        )
    check_format(FLAGS.format, FLAGS.precision, FLAGS.quantize)
    kept = {
        "scales": whole_numbers("scales", FLAGS.scales),
        "learners": whole_numbers("learners", FLAGS.learners),
    }
    repository = FLAGS.push_to and check_hub(FLAGS.push_to)
    if FLAGS.study_variant and not FLAGS.study:
        raise UsageError("study_variant is for --study, which is missing.")
    source = read_source(FLAGS.run_dir, FLAGS.embedder)
    if source.configs and source.configs.data.crop_to_box:
        say(
            "WARNING: the run cropped its images to their boxes (crop_to_box), which "
            "an export does not do: give it cropped images."
        )
    base = Path(FLAGS.output_dir or MODELS / source.name)
    name = os.path.basename(os.path.abspath(base))  # for . and .. too
    choice = read_choice(source, name, **kept)
    if FORMATS[FLAGS.format].file:  # a server looks for versions in the model's folder
        base /= FLAGS.format
    version = FLAGS.version
    if version is None:
        version = version_folder.next_version(base)
    target = version_folder.check_version(base, version)
    publish(FLAGS.format, source, choice, target)
    say(f"Exported to {target} in {time.monotonic() - started:.0f} s.")
    if repository:
        where = push(target, repository, f"{choice.name}, version {version}")
        say(f"Pushed to {where}.")


def read_choice(
    source: Source,
    name: str,
    scales: tuple[int, ...] | None,
    learners: tuple[int, ...] | None,
) -> Choice:
    """Check the flags against the embedder, and return the choice that they make.

    Args:
        source: What is exported.
        name: The model's name on the server.
        scales: Scales to keep; None for all.
        learners: Learners to keep; None for all.

    Raises:
        UsageError: The embedder has no such parts.
    """
    counts = scales_and_learners(core_of(source.embedder))
    precisions = FORMATS[FLAGS.format].precisions
    trained = precision_of(source.embedder)
    default = trained if trained in precisions else precisions[0]
    return Choice(
        name,
        chosen("scales", scales, counts[0]),
        chosen("learners", learners, counts[1]),
        FLAGS.precision or default,
        FLAGS.quantize,
        FLAGS.false_accept_rate,
        _warmup_requests(),
        FLAGS.license,
        FLAGS.study and scores_over_seeds(FLAGS.study, FLAGS.study_variant),
    )


def _warmup_requests() -> int:
    given = FLAGS.warmup_requests
    return WARMUP_REQUESTS if given is None else given


def whole_numbers(name: str, listed: list[str] | None) -> tuple[int, ...] | None:
    """Read a list flag of numbers.

    Args:
        name: Name of the flag.
        listed: Its value, as absl reads it; None if the flag is not given.

    Raises:
        UsageError: It holds something other than whole numbers.
    """
    if listed is None:
        return None
    try:
        return tuple(int(number) for number in listed)
    except ValueError:
        raise UsageError(
            f"{name}={','.join(listed)}: give whole numbers from 0, separated by "
            "commas."
        ) from None


PATHS = (
    Setting("run_dir", Path, None, "Folder of the finished run to export."),
    Setting("embedder", Path, None, "An embedder.keras, in place of --run_dir."),
    Setting(
        "output_dir",
        Path,
        None,
        "Folder of the model, in which each version gets a folder; for litert and "
        "onnx, a folder of that name lies in between. By default export/models/NAME, "
        "with the name of the run.",
    ),
    Setting(
        "study",
        Path,
        None,
        "File study.json of a study with the same settings; its intervals go into the "
        "model card, README.md.",
    ),
)


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-export`."""
    define(*PATHS)
    flags.DEFINE_enum(
        "format",
        "saved_model",
        sorted(FORMATS),
        "Format to write: saved_model, for TensorFlow Serving; litert or onnx, a file "
        "that takes images prepared as squares (the extra of that name is needed).",
    )
    flags.DEFINE_enum(
        "quantize",
        "none",
        ["none", "dynamic_int8"],
        "Quantisation with --format=litert: dynamic_int8 writes a second file, with "
        "weights of 8 bits, and reports what they cost.",
    )
    flags.DEFINE_integer(
        "version", None, "Number of the version; by default the next free one."
    )
    flags.DEFINE_list(
        "scales",
        None,
        "Scales to keep, separated by commas and counted from 0: 0 is scale 1 of the "
        "reports. By default all.",
    )
    flags.DEFINE_list(
        "learners",
        None,
        "Learners to keep, separated by commas and counted from 0: 0 is learner 1 of "
        "the reports. By default all.",
    )
    flags.DEFINE_enum(
        "precision",
        None,
        sorted(BOUNDS),
        "Number format of the backbones; by default that of the training if the "
        "export's format supports it, and float32 otherwise.",
    )
    flags.DEFINE_float(
        "false_accept_rate",
        0.01,
        "Share of images of unknown classes that the threshold accepts, above 0 and "
        "below 1.",
    )
    flags.DEFINE_integer(
        "warmup_requests",
        None,
        "Number of warm-up requests of each batch size, 1 and 8, with "
        f"--format=saved_model; by default {WARMUP_REQUESTS}, and 0 writes none.",
    )
    flags.DEFINE_string(
        "study_variant",
        None,
        "Name of the variant of --study that is exported; by default its only one.",
    )
    flags.DEFINE_string(
        "license",
        None,
        "Licence of the weights for the model card, as the Hugging Face Hub names it, "
        "such as apache-2.0; by default none.",
    )
    flags.DEFINE_string(
        "push_to",
        None,
        "Repository hf://OWNER/NAME of the Hugging Face Hub to which the version is "
        "also uploaded, in place of all that it holds; if there is none, it is "
        "created as private. Needs the extra hub.",
    )
    command.run(main)


if __name__ == "__main__":
    cli()
