"""Serves training images: `python -m deml_tf.data_service --port=5050`.

Starts a dispatcher with one worker in this process, or, with --dispatcher, one worker
more on another machine. `deml_tf.train --data_service=HOST:5050` then has its images
read here. All machines need the images under the same path.
"""

import os
import socket

import tensorflow as tf
from absl import flags

from deml_tf.cli import command
from deml_tf.data import address
from deml_tf.data.service import check_service
from deml_tf.errors import UsageError

FLAGS = flags.FLAGS


def main(arguments):
    """Serves until it is interrupted."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    _check_port(FLAGS.port)
    if not address.is_host(FLAGS.host):
        raise UsageError(
            f"--host={FLAGS.host} is no name of a machine: give what others call "
            "this one, without a port."
        )
    joins = FLAGS.dispatcher is not None
    if joins:
        check_service(FLAGS.dispatcher, "dispatcher")
    service = tf.data.experimental.service
    try:
        dispatcher = None  # held as long as the worker runs
        target = FLAGS.dispatcher
        if not joins:
            dispatcher = service.DispatchServer(
                service.DispatcherConfig(port=FLAGS.port)
            )
            target = dispatcher.target
        worker = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=target.removeprefix("grpc://"),
                worker_address=f"{FLAGS.host}:%port%",
                port=FLAGS.port if joins else 0,
            )
        )
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        what, mend = f"--port={FLAGS.port}", "a free port"
        if joins:
            what, mend = f"--dispatcher={FLAGS.dispatcher}", "a service that is up"
        reason = str(error).splitlines()[0].rstrip(": ")
        raise UsageError(f"{what} cannot be used ({reason}): name {mend}.") from error
    if joins:
        print(f"Serving for {target}.", flush=True)
    else:
        port = target.rpartition(":")[2]
        print(f"Serving: train with --data_service={FLAGS.host}:{port}", flush=True)
    worker.join()
    del dispatcher


def _check_port(port):
    if not 0 <= port <= address.LAST_PORT:
        raise UsageError(
            f"--port={port}: it must be from 1 to {address.LAST_PORT}, or 0 for a free "
            "one."
        )
    try:
        # gRPC would share the port with another service, and each hear half of it.
        socket.create_server(("", port)).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(
            f"--port={port} cannot be used ({reason}): name a free one, or 0 for any."
        ) from error


def cli():
    """Defines the flags and runs: what `deml-tf-data-service` starts."""
    flags.DEFINE_integer("port", 5050, "Port to listen on; 0 takes a free one.")
    flags.DEFINE_string(
        "host", "localhost", "Name under which other machines reach this one."
    )
    flags.DEFINE_string(
        "dispatcher",
        None,
        "HOST:PORT of a service that is up, to add a worker to it; default a new one.",
    )
    command.run(main)


if __name__ == "__main__":
    cli()
