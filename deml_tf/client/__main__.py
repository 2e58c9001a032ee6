"""Embeds images on a server: `python -m deml_tf.client --server=HOST:PORT IMAGES`."""

import sys
import time
from pathlib import Path
from typing import Any

from absl import flags
from rich.progress import track

from deml_tf.cli import command
from deml_tf.client.answers import Answer, stack
from deml_tf.client.connection import PROTOCOLS, Client
from deml_tf.client.files import find_images, on_disk
from deml_tf.client.output import check_file, write_embeddings
from deml_tf.errors import DataError, UsageError

FLAGS = flags.FLAGS
_MOST_LISTED = 20  # images named on the screen; the output names all


def main(arguments):
    """Finds the images, asks the server, writes what it answers."""
    for name in ("server", "model", "output"):
        if not FLAGS[name].value:
            raise UsageError(f"--{name} is missing: {FLAGS[name].help}")
    if FLAGS.max_side < 0:
        raise UsageError(f"--max_side={FLAGS.max_side}: give pixels, or 0 for none.")
    if not arguments:
        raise UsageError("No image is named: give files or folders after the flags.")
    output = Path(FLAGS.output)
    check_file(output)
    paths = find_images(arguments)
    started = time.monotonic()
    names = ("protocol", "version", "label", "signature", "batch_size", "concurrency")
    names += ("timeout", "retries", "total_timeout")
    options: dict[str, Any] = {name: FLAGS[name].value for name in names}
    with Client(FLAGS.server, FLAGS.model, **options) as client:
        client.check()
        answers: dict[int, Answer] = {}
        images = [on_disk(path, FLAGS.max_side) for path in paths]
        try:
            for index, answer in track(
                client.answers(images), "embedding", total=len(images)
            ):
                answers[index] = answer
        except KeyboardInterrupt:
            client.close()  # else threads wait for their answers
            kept = keep(output, paths, answers)
            print(f"error: Interrupted{kept}.", file=sys.stderr)
            sys.exit(130)
        except (DataError, UsageError) as error:
            kept = keep(output, paths, answers)
            raise type(error)(f"{str(error).rstrip('.')}{kept}.") from error
        retried = dict(client.retried)
    ordered = [answers[index] for index in range(len(paths))]
    write_embeddings(output, paths, stack(ordered))
    report(paths, ordered, retried, time.monotonic() - started)
    print(f"Embeddings: {output}")


def keep(output: Path, paths: list[Path], answers: dict[int, Answer]) -> str:
    """Saves what came before the end, beside the output and not in its place.

    Args:
        output: As asked for.
        paths: All images.
        answers: By index, those that came.

    Returns:
        The end of a sentence that says so.
    """
    if not answers:
        return "; nothing was received"
    partial = output.with_name(f"{output.stem}.partial{output.suffix}")
    known = sorted(answers)
    write_embeddings(
        partial, [paths[i] for i in known], stack([answers[i] for i in known])
    )
    return f"; {len(known)} of {len(paths)} images were received and are in {partial}"


def report(
    paths: list[Path], answers: list[Answer], retried: dict[str, int], seconds: float
) -> None:
    """Prints how many images were embedded, and which were not.

    Args:
        paths: All images.
        answers: Of all of them.
        retried: Requests that were sent again, by code.
        seconds: That it took.
    """
    wrong = [(p, a.reason) for p, a in zip(paths, answers, strict=True) if not a.valid]
    print(f"{len(paths) - len(wrong)} of {len(paths)} images in {seconds:.1f} s")
    if retried:
        codes = ", ".join(f"{count} {code}" for code, count in sorted(retried.items()))
        print(f"requests sent again: {codes}")
    for path, reason in wrong[:_MOST_LISTED]:
        print(f"not embedded: {path}: {reason}")
    if len(wrong) > _MOST_LISTED:
        print(f"... and {len(wrong) - _MOST_LISTED} more, which the output names")


def cli():
    """Defines the flags and runs: what a console script starts."""
    flags.DEFINE_string("server", None, "HOST:PORT of TensorFlow Serving.")
    flags.DEFINE_enum("protocol", "grpc", PROTOCOLS, "How to speak to it.")
    flags.DEFINE_string("model", None, "The model's name on the server.")
    flags.DEFINE_integer("version", None, "Its version; default the newest loaded.")
    flags.DEFINE_string("label", None, "A label in place of a version: stable, canary.")
    flags.DEFINE_string("signature", "serving_default", "What to ask for.")
    flags.DEFINE_integer(
        "batch_size", 8, "Images in a request; at most the server's max_batch_size."
    )
    flags.DEFINE_integer("concurrency", 4, "Requests under way at one time.")
    flags.DEFINE_float("timeout", 30.0, "Seconds for one request.")
    flags.DEFINE_integer(
        "retries", 8, "Times a request is sent again to a server down, busy or slow."
    )
    flags.DEFINE_float("total_timeout", None, "Seconds for all images; default none.")
    flags.DEFINE_integer(
        "max_side",
        0,
        "Pixels of the longer side above which an image is made smaller before it is "
        "sent; 0 sends all as they are.",
    )
    flags.DEFINE_string(
        "output", None, "File to write, in .npz, .jsonl or .parquet by its ending."
    )
    FLAGS.set_gnu_getopt(True)  # flags may stand after the images
    command.run(main)


if __name__ == "__main__":
    cli()
