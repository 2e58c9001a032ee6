"""Serves training pictures: `python -m deml_tf.data_service --port=5050`.

Starts a dispatcher with one worker in this process, or, with --dispatcher, one worker
more on another machine. `deml_tf.train --data_service=HOST:5050` then has its pictures
read here. All machines need the pictures under the same path.
"""

import tensorflow as tf
from absl import flags

from deml_tf import command
from deml_tf.errors import UsageError

FLAGS = flags.FLAGS


def main(arguments):
    """Serves until it is interrupted."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    service = tf.data.experimental.service
    joins = FLAGS.dispatcher is not None
    try:
        dispatcher = None  # held as long as the worker runs
        address = FLAGS.dispatcher
        if not joins:
            dispatcher = service.DispatchServer(
                service.DispatcherConfig(port=FLAGS.port)
            )
            address = dispatcher.target.removeprefix("grpc://")
        worker = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=address,
                worker_address=f"{FLAGS.host}:%port%",
                port=FLAGS.port if joins else 0,
            )
        )
    except (tf.errors.OpError, ValueError) as error:
        what = f"--dispatcher={FLAGS.dispatcher} or " if joins else ""
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{what}--port={FLAGS.port} cannot be used ({reason}): name a free port"
            + (", and a dispatcher that is up." if joins else ".")
        ) from error
    if joins:
        print(f"Serving for {address}.", flush=True)
    else:
        port = address.rpartition(":")[2]
        print(f"Serving: train with --data_service={FLAGS.host}:{port}", flush=True)
    worker.join()
    del dispatcher


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
