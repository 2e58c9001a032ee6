"""Worker processes on this machine, each `python -m deml_tf.train`."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deml_tf.cli import termination
from deml_tf.data.address import direct
from deml_tf.training.cluster import VARIABLE

_PATIENCE = 60  # seconds for the others to end by themselves and say why


def run_workers(count: int, arguments: Sequence[str]) -> list[int | None]:
    """Run `deml_tf.train` in several processes that form one training.

    If one of them fails, the others are killed a minute later. SIGTERM and Ctrl-C are
    passed on as SIGTERM; the workers save their step and end.

    Args:
        count: Number of workers.
        arguments: Flags of `deml_tf.train`.

    Returns:
        The exit status of each worker, in order of rank: negative if a signal killed
        it, None if it was killed here because another one had failed.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; all workers have ended.
    """
    addresses = free_addresses(count)
    workers = []
    try:
        for rank in range(count):
            workers.append(start_worker(rank, addresses, arguments))
        _wait(workers)
        return [worker.poll() for worker in workers]
    except KeyboardInterrupt:
        for worker in workers:
            worker.terminate()
        with termination.deferred():  # a second SIGTERM must not kill them
            _wait(workers)
        raise
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
            worker.wait()


def _wait(workers: Sequence[subprocess.Popen[Any]]) -> None:
    """Return when all have ended, or `_PATIENCE` after one has failed."""
    deadline = None
    while any(worker.poll() is None for worker in workers):
        if deadline is None and any(worker.poll() for worker in workers):
            deadline = time.monotonic() + _PATIENCE
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(0.1)


def start_worker(
    rank: int, addresses: Sequence[str], arguments: Sequence[str], **options: Any
) -> subprocess.Popen[Any]:
    """Start one worker as a process.

    Args:
        rank: Its place among the addresses.
        addresses: HOST:PORT of all workers.
        arguments: Flags of `deml_tf.train`.
        **options: Options of `subprocess.Popen`.

    Returns:
        The process.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "deml_tf.train", *arguments],
        env={**os.environ, **direct(), VARIABLE: tf_config(rank, addresses)},
        process_group=0,  # Ctrl-C reaches it as SIGTERM, which lets it save its step
        **options,
    )


def tf_config(rank: int, addresses: Sequence[str]) -> str:
    """Return the value of TF_CONFIG for one of the workers.

    Args:
        rank: Its place among the addresses.
        addresses: HOST:PORT of all workers.
    """
    task = {"type": "worker", "index": rank}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def free_addresses(count: int) -> list[str]:
    """Return addresses of this machine whose ports are free at the moment."""
    sockets = [_listen() for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def _listen() -> socket.socket:
    """Listen on a free port, if possible not one that outgoing connections may get."""
    try:
        given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        port = random.SystemRandom().randrange(1024, int(given.split()[0]))
        return socket.create_server(("127.0.0.1", port))
    except (OSError, ValueError):  # no such file, no such port, or it is taken
        return socket.create_server(("127.0.0.1", 0))
