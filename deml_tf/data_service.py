"""Serves training images: `python -m deml_tf.data_service --port=5050`.

Starts a dispatcher with one worker in this process or, with --dispatcher, another
worker for a dispatcher on another machine. A training with the flag
`--data_service=HOST:5050` then has its images read here. If it runs on another machine,
give `--host=HOST`, the name by which it reaches this one. All machines need the images
under the same path.

Whoever reaches the port can run code on this machine, since the service has no
passwords and listens on every network, whatever --host says: let only a private network
reach it.
"""

import os
import socket
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import flags

from deml_tf.cli import termination
from deml_tf.cli.command import no_words, run
from deml_tf.cli.error_text import first_sentence
from deml_tf.cli.printing import say
from deml_tf.data import address
from deml_tf.data.service import check_service
from deml_tf.errors import UsageError

FLAGS = flags.FLAGS


def main(arguments: Sequence[str]) -> None:
    """Serve until interrupted."""
    no_words(arguments)
    check_port(FLAGS.port)
    if not address.is_host(FLAGS.host):
        raise UsageError(
            f"host={FLAGS.host} is no name of a machine: give what others call this "
            "one, without a port."
        )
    if FLAGS.dispatcher is not None:
        check_reachable(FLAGS.host, FLAGS.dispatcher)
        check_service(FLAGS.dispatcher, "dispatcher")
        worker = join(FLAGS.dispatcher, FLAGS.host, FLAGS.port)
        say(f"Serving for {FLAGS.dispatcher}.")
    else:
        # The dispatcher ends when its object is deleted.
        dispatcher, worker = start(FLAGS.host, FLAGS.port)
        port = dispatcher.target.rpartition(":")[2]
        say(f"Serving: train with --data_service={FLAGS.host}:{port}")
    say(address.EXPOSED)
    with termination.at_once():
        worker.join()


def start(host: str, port: int) -> tuple[Any, Any]:
    """Start a dispatcher and its first worker.

    Args:
        host: Name under which other machines reach this one.
        port: Port of the dispatcher; 0 takes a free one.

    Returns:
        Both servers.

    Raises:
        UsageError: The port cannot be used.
    """
    service = tf.data.experimental.service
    try:
        dispatcher = service.DispatchServer(service.DispatcherConfig(port=port))
        return dispatcher, _worker(dispatcher.target, host, 0)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"port={port} cannot be used ({first_sentence(error)}): name a free port."
        ) from error


def join(dispatcher: str, host: str, port: int) -> Any:
    """Start a worker for a dispatcher that is up.

    Args:
        dispatcher: Its address HOST:PORT.
        host: Name under which other machines reach this one.
        port: Port of the worker; 0 takes a free one.

    Returns:
        The server.

    Raises:
        UsageError: The dispatcher does not accept the worker.
    """
    try:
        return _worker(dispatcher, host, port)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"dispatcher={dispatcher} cannot be used ({first_sentence(error)}): name a "
            "service that is up."
        ) from error


def check_reachable(host: str, dispatcher: str) -> None:
    """Refuse a worker whose name makes other machines look for it on themselves.

    Args:
        host: Name under which other machines reach this one.
        dispatcher: Address HOST:PORT of the service.

    Raises:
        UsageError: The name is a loopback name, and the service is on another machine.
    """
    named = address.split(dispatcher.removeprefix("grpc://"))
    if named and address.is_loopback(host) and not address.is_loopback(named[0]):
        raise UsageError(
            f"host={host} is each machine's name for itself, and "
            f"dispatcher={dispatcher} is on another: give the name by which other "
            "machines reach this one."
        )


def check_port(port: int) -> None:
    """Refuse a port that does not exist or that another program uses.

    Raises:
        UsageError: It is such a port.
    """
    if not 0 <= port <= address.LAST_PORT:
        raise UsageError(
            f"port={port}: it must be from 1 to {address.LAST_PORT}, or 0 for a free "
            "one."
        )
    try:
        # gRPC would share the port with another service: each would get half the calls.
        socket.create_server(("", port)).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(
            f"port={port} cannot be used ({reason}): name a free one, or 0 for any."
        ) from error


def _worker(dispatcher: str, host: str, port: int) -> Any:
    os.environ.update(address.direct(host))
    service = tf.data.experimental.service
    return service.WorkerServer(
        service.WorkerConfig(
            dispatcher_address=dispatcher.removeprefix("grpc://"),
            worker_address=f"{host}:%port%",
            port=port,
        )
    )


def cli() -> None:
    """Define the flags and run: the entry point of `deml-tf-data-service`."""
    flags.DEFINE_integer(
        "port",
        5050,
        "Port to listen on, on every network of this machine; 0 takes a free one. "
        "Anyone who can reach it can run code on this machine.",
    )
    flags.DEFINE_string(
        "host",
        "localhost",
        "Name by which other machines reach this one; with the default, only "
        "trainings on this machine can use the service. It does not restrict who can "
        "connect.",
    )
    flags.DEFINE_string(
        "dispatcher",
        None,
        "Address HOST:PORT of a running service that this process joins as a worker; "
        "by default it starts a new service.",
    )
    run(main)


if __name__ == "__main__":
    cli()
