"""Trains on several workers: `python -m deml_tf.launch --workers=2 -- FLAGS`.

Each worker is `python -m deml_tf.train FLAGS` in a process of this machine, with the
TF_CONFIG that makes them one training. A sample of what a cluster's scheduler does, and
a way to try it: on one machine, several workers are not faster than one.

If a worker ends in an error, the others are ended too; --restarts starts all of them
again, from the last checkpoint.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

from absl import flags

from deml_tf.cli import command
from deml_tf.cli.flags import define_flags, from_flags, read_configs
from deml_tf.cli.parsing import parse
from deml_tf.config import CONFIGS, DistributionConfig
from deml_tf.errors import DataError, UsageError
from deml_tf.training.cluster import VARIABLE

FLAGS = flags.FLAGS
_PATIENCE = 60  # seconds in which the others may end by themselves, saying why
_WRONG_USAGE = 2  # exit status that no restart mends
_MOST = 64  # workers, for all are processes of this machine
_OWN = ("workers", "restarts")


def main(arguments):
    """Runs the workers, again if asked to, until all of them are done."""
    if FLAGS.workers < 1:
        raise UsageError(f"--workers={FLAGS.workers}: it must be at least 1.")
    if FLAGS.workers > _MOST:
        raise UsageError(
            f"--workers={FLAGS.workers}: it must be at most {_MOST}, for all run on "
            "this machine."
        )
    if FLAGS.restarts < 0:
        raise UsageError(f"--restarts={FLAGS.restarts}: it must be at least 0.")
    if not arguments:
        raise UsageError("No flags for deml_tf.train: write them after --.")
    _check(arguments)
    for left in range(FLAGS.restarts, -1, -1):
        status = run_workers(FLAGS.workers, arguments)
        if not any(status):
            return
        # Of those that failed: what was killed from here ended below zero.
        failed = max(range(FLAGS.workers), key=lambda n: (status[n] != 0, status[n]))
        said = f"Worker {failed} of {FLAGS.workers} ended with status {status[failed]}"
        if _WRONG_USAGE in status:
            raise UsageError(f"{said}: see what it said above, and mend its flags.")
        if not left:
            raise DataError(
                f"{said}: see what it said above; the same command goes on from the "
                "last checkpoint."
            )
        print(f"{said}; all start again, {left} restarts left.", flush=True)


def run_workers(count, arguments):
    """Runs `deml_tf.train` in so many processes that know of one another.

    Args:
        count: Workers.
        arguments: Flags of `deml_tf.train`.

    Returns:
        Their exit statuses, in order of rank.
    """
    addresses = free_addresses(count)
    workers = [start_worker(rank, addresses, arguments) for rank in range(count)]
    deadline = None
    try:
        while any(worker.poll() is None for worker in workers):
            if deadline is None and any(worker.poll() for worker in workers):
                deadline = time.monotonic() + _PATIENCE
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(0.1)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
            worker.wait()
    return [worker.returncode for worker in workers]


def start_worker(rank, addresses, arguments, **options):
    """Starts one worker as a process.

    Args:
        rank: Its place among the addresses.
        addresses: HOST:PORT of all workers.
        arguments: Flags of `deml_tf.train`.
        **options: Of `subprocess.Popen`.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "deml_tf.train", *arguments],
        env={**os.environ, VARIABLE: tf_config(rank, addresses)},
        **options,
    )


def tf_config(rank, addresses):
    """What TF_CONFIG must be for one of the workers at the addresses."""
    task = {"type": "worker", "index": rank}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def free_addresses(count):
    """Addresses of this machine whose ports are free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def _check(arguments):
    """Says once, and before a worker starts, what each would say of its flags."""
    values = flags.FlagValues()
    values.append_flag_values(FLAGS)  # absl's own
    values.remove_flag_values(_OWN)
    define_flags(*CONFIGS, DistributionConfig, flag_values=values)
    train = "deml_tf.train"
    argv = [sys.argv[0], *arguments]
    _, *words = parse(values, argv, train, f"see python -m {train} --help for all")
    if words:
        raise UsageError(
            f"{words[0]!r} is no flag: write only flags of {train} after --."
        )
    read_configs(values)
    from_flags(DistributionConfig, values)


def cli():
    """Defines the flags and runs: what `deml-tf-launch` starts."""
    flags.DEFINE_integer("workers", 2, "Workers, each a process of this machine.")
    flags.DEFINE_integer("restarts", 0, "Times that all start again after an error.")
    command.run(main, hint="write flags of deml_tf.train after --")


if __name__ == "__main__":
    cli()
