"""Search an index by image: `python -m deml_tf.search --index=I --image=Q.jpg`."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from rich.table import Table

from deml_tf.bulk.index_reader import IndexReader
from deml_tf.cli import command
from deml_tf.cli.flags import define
from deml_tf.cli.printing import printable, say
from deml_tf.cli.settings import Setting
from deml_tf.client.connection import Client
from deml_tf.client.server import PROTOCOLS, parse_headers
from deml_tf.data.image_files import read_image_file
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.atomic import check_output
from deml_tf.search.address import listen, read_address, read_host_names
from deml_tf.search.export_embedder import ExportEmbedder
from deml_tf.search.found import MOST, Found, find
from deml_tf.search.query import UnusableImageError
from deml_tf.search.result_page import write_result
from deml_tf.search.server_embedder import ServerEmbedder

FLAGS = flags.FLAGS
_MEGABYTE = 10**6
_WIDEST = 10_000  # columns
# With a model server, for one of many queries: they wait for one another.
_PATIENCE: dict[str, Any] = {"total_timeout": 30.0, "retries": 2}
_EXPOSED = (
    "warning: --serve={} is reached from other machines: whoever can reach it sees "
    "every indexed image and its path, for there is no password and no encryption."
)


def main(arguments: Sequence[str]) -> None:
    """Check the flags, open the index, answer."""
    command.no_words(arguments)
    if not FLAGS.index:
        raise UsageError("--index is missing: name what deml_tf.index has written.")
    _require_one("image", "serve")
    _require_one("export", "server")
    if FLAGS.export:
        of_server = ("model", "protocol", "tls", "ca", "header")
        _refuse(of_server, "is for --server, and --export embeds here")
    if FLAGS.serve is not None:
        serve_pages()
    else:
        _refuse(("host_name", "max_upload"), "is for --serve, and --image asks once")
        answer_once()


def answer_once() -> None:
    """Search for one image; print the answer, and write it as a page if asked to."""
    if FLAGS.output:
        check_output("output", FLAGS.output)
    try:
        encoded = read_image_file(FLAGS.image)
    except OSError as error:
        raise UsageError(
            f"image={FLAGS.image} cannot be read ({error.strerror}): name an image."
        ) from error
    reader = IndexReader(FLAGS.index)
    if FLAGS.label is not None:
        reader.rows_with(FLAGS.label)
    with embedding(reader) as embedder:
        try:
            query = embedder.embed(encoded)
        except UnusableImageError as error:
            raise DataError(
                f"image={FLAGS.image} cannot be used ({error}): name another image."
            ) from error
    found = find(reader, query, FLAGS.k, label=FLAGS.label)
    show(found)
    if FLAGS.output:
        about = reader.description
        facts = [
            ("query", FLAGS.image),
            ("index", f"{FLAGS.index}: {about.count:,} images, {about.kind}"),
            ("model", str(about.model_id)),
            ("label", FLAGS.label or "any"),
            ("threshold", "none" if found.threshold is None else str(found.threshold)),
        ]
        write_result(
            FLAGS.output,
            name=FLAGS.image,
            encoded=encoded,
            query=query,
            found=found,
            facts=facts,
        )
        say(f"Page: {FLAGS.output}")


def show(found: Found) -> None:
    """Print a table, and whether the query is unknown.

    Args:
        found: The answer.
    """
    table = Table("rank", "cosine", "label", box=None)
    table.add_column("path", overflow="fold")
    for rank, hit in enumerate(found.hits, start=1):
        label = "" if hit.label is None else printable(hit.label)
        cells = (str(rank), f"{hit.cosine:.4f}", label, printable(hit.path))
        table.add_row(*cells)
    screen = command.console()
    if not screen.is_terminal:
        screen.width = _WIDEST  # another program may read the paths
    screen.print(table)
    if found.unknown:
        say(f"{found.verdict}.")


def serve_pages() -> None:
    """Serve the web page until Ctrl-C."""
    for name in ("output", "label"):
        if FLAGS[name].value is not None:
            raise UsageError(
                f"{name}={FLAGS[name].value} is for one image, and --serve for many: "
                "leave one of them out."
            )
    try:
        import python_multipart  # noqa: F401 (starlette asks for it late)

        from deml_tf.search.site import Site
        from deml_tf.search.web_server import serve
    except ImportError as error:
        raise UsageError(
            f"serve={FLAGS.serve} needs {error.name}, which is not installed: pip "
            "install deml_tf[search]."
        ) from error
    names = read_host_names(FLAGS.host_name)
    listening, address = listen(read_address(FLAGS.serve))
    with listening:
        reader = IndexReader(FLAGS.index)
        with embedding(reader) as embedder:
            embedder.warm_up()
            if not address.is_loopback:
                say(_EXPOSED.format(FLAGS.serve), sys.stderr)
            say(f"{reader.count:,} images at {address.url} (Ctrl-C ends it)")
            most_bytes = int(FLAGS.max_upload * _MEGABYTE)
            hosts = address.allowed_hosts(names)
            serve(Site(reader, embedder, FLAGS.k), hosts, listening, most_bytes)


@contextlib.contextmanager
def embedding(reader: IndexReader) -> Iterator[ExportEmbedder | ServerEmbedder]:
    """Make the embedder that the flags name.

    Args:
        reader: The index that is searched.

    Raises:
        UsageError, DataError: It does not fit the index, or does not work.
    """
    if FLAGS.export:
        yield ExportEmbedder(FLAGS.export, reader)
        return
    about = reader.description
    patience = {} if FLAGS.serve is None else _PATIENCE
    with Client(
        FLAGS.server,
        FLAGS.model or about.model,
        protocol=FLAGS.protocol,
        version=about.version,
        concurrency=1,
        tls=FLAGS.tls,
        ca=FLAGS.ca,
        headers=parse_headers(FLAGS.header),
        **patience,
    ) as client:
        yield ServerEmbedder(client)


def _require_one(first: str, second: str) -> None:
    one, other = FLAGS[first], FLAGS[second]
    if bool(one.value) == bool(other.value):
        wrong = "are both given" if one.value else "are missing"
        raise UsageError(
            f"--{first} and --{second} {wrong}, and one of them is needed: {one.help}"
        )


def _refuse(names: Sequence[str], why: str) -> None:
    for name in names:
        if FLAGS[name].value != FLAGS[name].default:
            raise UsageError(f"{name} {why}: leave one of them out.")


SETTINGS = (
    Setting("index", Path, None, "Folder that python -m deml_tf.index has written."),
    Setting("image", Path, None, "Image to search for."),
    Setting(
        "serve",
        str,
        None,
        "Address of a web page to serve, PORT or HOST:PORT, in place of --image; "
        "without HOST only this machine can reach it. Needs the extra search.",
    ),
    Setting(
        "host_name",
        list,
        [],
        "Name by which browsers address the web page, such as that of a proxy in "
        "front of it; may be repeated. Requests for names other than these and this "
        "machine's own are refused.",
    ),
    Setting(
        "export",
        Path,
        None,
        "Version folder of the export that the index was made with, such as "
        "export/models/NAME/1, which embeds the image in this process.",
    ),
    Setting(
        "server",
        str,
        None,
        "Address HOST:PORT of TensorFlow Serving, which embeds the image with the "
        "version that the index was made with. Needs the extra client.",
    ),
    Setting(
        "model",
        str,
        None,
        "Name of the model on the server, if it is not the name in the index.",
    ),
    Setting("protocol", str, "grpc", "Protocol of the server.", PROTOCOLS),
    Setting(
        "tls",
        bool,
        False,
        "Whether to encrypt the connection and check the server's certificate.",
    ),
    Setting(
        "ca",
        Path,
        None,
        "PEM file of the authority that signed the server's certificate, with --tls; "
        "by default the usual authorities are trusted.",
    ),
    Setting(
        "header",
        list,
        [],
        "Header NAME=VALUE to send to the server with each request; may be repeated.",
    ),
    Setting("k", int, 20, "Number of images to find.", at_least=1, at_most=MOST),
    Setting(
        "label",
        str,
        None,
        "Label of the images to search among; by default all images are searched.",
    ),
    Setting("output", Path, None, "HTML page to write, with pictures and boxes."),
    Setting(
        "max_upload",
        float,
        20.0,
        "Size of the largest image that the web page accepts, in megabytes.",
        above=0,
        at_most=256,
    ),
)


def cli() -> None:
    """Define the flags and run: what `deml-tf-search` starts."""
    define(*SETTINGS)
    command.run(main, interrupted="Interrupted: nothing is searched any more.")


if __name__ == "__main__":
    cli()
