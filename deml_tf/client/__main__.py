"""Embed images on a server: `python -m deml_tf.client --server=HOST:PORT IMAGES`."""

import sys
import time
from pathlib import Path

from absl import flags

from deml_tf.cli import command, termination
from deml_tf.cli.flags import define
from deml_tf.cli.printing import say, so_many
from deml_tf.cli.progress import track
from deml_tf.cli.settings import Setting
from deml_tf.client.answers import Answer, stack
from deml_tf.client.connection import Client
from deml_tf.client.files import find_images, on_disk
from deml_tf.client.output import check_file, write_embeddings, write_partial
from deml_tf.client.server import PROTOCOLS, parse_headers
from deml_tf.errors import DataError, UsageError

FLAGS = flags.FLAGS
_MOST_LISTED = 20  # images named on the screen; the output names all


def main(arguments: list[str]) -> None:
    """Find the images, ask the server, write the answers."""
    for name in ("server", "model", "output"):
        if not FLAGS[name].value:
            raise UsageError(f"--{name} is missing: {FLAGS[name].help}")
    if FLAGS.max_side < 0:
        raise UsageError(f"max_side={FLAGS.max_side}: give pixels, or 0 for none.")
    if not arguments:
        raise UsageError("No image is named: give files or folders after the flags.")
    output = Path(FLAGS.output)
    check_file(output)
    paths = find_images(arguments)
    started = time.monotonic()
    with Client(
        FLAGS.server,
        FLAGS.model,
        protocol=FLAGS.protocol,
        version=FLAGS.version,
        label=FLAGS.label,
        signature=FLAGS.signature,
        batch_size=FLAGS.batch_size,
        concurrency=FLAGS.concurrency,
        timeout=FLAGS.timeout,
        retries=FLAGS.retries,
        total_timeout=FLAGS.total_timeout,
        tls=FLAGS.tls,
        ca=FLAGS.ca,
        headers=parse_headers(FLAGS.header),
    ) as client:
        version = client.check()
        answers = receive(client, paths, output, version)
        retried = dict(client.retried)
    with termination.deferred():  # what was received is written first
        write_embeddings(output, paths, stack(answers), version)
    report(paths, answers, retried, time.monotonic() - started)
    say(f"Embeddings: {output}")


def receive(
    client: Client, paths: list[Path], output: Path, version: int
) -> list[Answer]:
    """Embed all images; if that fails, write the answers so far beside the output.

    Args:
        client: Client of the server.
        paths: All images.
        output: The file that was asked for.
        version: The model's version.

    Returns:
        An answer for each image, in order.

    Raises:
        UsageError, DataError: As for `Client.answers`, also naming the file.
    """
    images = [on_disk(path, FLAGS.max_side) for path in paths]
    answers: dict[int, Answer] = {}
    try:
        for index, answer in track(client.answers(images), "embedding", len(images)):
            answers[index] = answer
    except BaseException as error:
        client.close()  # otherwise threads wait for their answers
        kept = write_partial(output, paths, answers, version)
        if isinstance(error, DataError | UsageError):
            raise type(error)(f"{str(error).rstrip('.')}{kept}.") from error
        if isinstance(error, KeyboardInterrupt):
            terminated = isinstance(error, termination.Terminated)
            word = "Terminated" if terminated else "Interrupted"
            say(f"error: {word}{kept}.", sys.stderr)
            sys.exit(termination.STATUS if terminated else 130)
        error.add_note(kept.removeprefix("; "))
        raise
    return [answers[index] for index in range(len(paths))]


def report(
    paths: list[Path], answers: list[Answer], retried: dict[str, int], seconds: float
) -> None:
    """Print how many images were embedded, and which were not.

    Args:
        paths: All images.
        answers: One for each image.
        retried: Number of requests that were sent again, by code.
        seconds: Duration.
    """
    wrong = [(p, a.reason) for p, a in zip(paths, answers, strict=True) if not a.valid]
    of_all = f"of {so_many(len(paths), 'image', 'images')}"
    say(f"{len(paths) - len(wrong):,} {of_all} in {seconds:.1f} s")
    if retried:
        codes = ", ".join(f"{count} {code}" for code, count in sorted(retried.items()))
        say(f"requests sent again: {codes}")
    for path, reason in wrong[:_MOST_LISTED]:
        say(f"not embedded: {path}: {reason}")
    if len(wrong) > _MOST_LISTED:
        say(f"... and {len(wrong) - _MOST_LISTED} more, which the output names")


def cli() -> None:
    """Define the flags and run: what `deml-tf-client` starts."""
    flags.DEFINE_string("server", None, "Address HOST:PORT of TensorFlow Serving.")
    flags.DEFINE_enum("protocol", "grpc", PROTOCOLS, "Protocol of the server.")
    flags.DEFINE_string("model", None, "Name of the model on the server.")
    flags.DEFINE_integer(
        "version", None, "Version of the model; by default the newest that is loaded."
    )
    flags.DEFINE_string(
        "label",
        None,
        "Label of a version, such as stable or canary, in place of --version.",
    )
    flags.DEFINE_string(
        "signature", "serving_default", "Signature of the model to call."
    )
    flags.DEFINE_integer(
        "batch_size",
        8,
        "Number of images in a request, no more than the server's max_batch_size.",
    )
    flags.DEFINE_integer("concurrency", 4, "Number of requests under way at one time.")
    flags.DEFINE_float("timeout", 30.0, "Time limit for one request, in seconds.")
    flags.DEFINE_integer(
        "retries",
        8,
        "Number of times that a request is sent again if the server is down, busy or "
        "slow.",
    )
    flags.DEFINE_float(
        "total_timeout", None, "Time limit for all images, in seconds; by default none."
    )
    flags.DEFINE_integer(
        "max_side",
        0,
        "Length of the longer side, in pixels, above which an image is made smaller "
        "before it is sent; 0 sends all images as they are.",
    )
    flags.DEFINE_bool(
        "tls",
        False,
        "Whether to encrypt the connection and check the server's certificate.",
    )
    text = (
        "PEM file of the authority that signed the server's certificate, with --tls; "
        "by default the usual authorities are trusted."
    )
    define(Setting("ca", Path, None, text))
    flags.DEFINE_multi_string(
        "header",
        [],
        "Header NAME=VALUE to send with each request; may be repeated. Give secrets "
        "in a --flagfile, since other users can see a command line, and send them "
        "with --tls.",
    )
    text = "File to write; its ending, .npz, .jsonl or .parquet, gives the format."
    define(Setting("output", Path, None, text))
    FLAGS.set_gnu_getopt(True)  # flags may stand after the images
    command.run(main)


if __name__ == "__main__":
    cli()
