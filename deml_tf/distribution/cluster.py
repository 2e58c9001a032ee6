"""The machines of a training, as the environment variable TF_CONFIG names them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deml_tf.errors import UsageError

VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """This process among the workers of a training.

    Attributes:
        addresses: Of all workers, `HOST:PORT`, the chief's first.
        rank: This worker's place among them.
    """

    addresses: tuple[str, ...] = ("",)
    rank: int = 0

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes."""
        return self.rank == 0


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Reads TF_CONFIG; without one, a training is one worker alone.

    Args:
        environment: Variables by name.

    Returns:
        The cluster; one worker if there is no TF_CONFIG or only one worker in it.

    Raises:
        UsageError: TF_CONFIG is not what TensorFlow takes for synchronous training.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text or text == "{}":
        return Cluster()
    try:
        config = json.loads(text)
        jobs = {str(job): list(names) for job, names in config["cluster"].items()}
        kind, rank = str(config["task"]["type"]), int(config["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{VARIABLE}={text}: write it as {_EXAMPLE}.") from error
    strange = sorted(set(jobs) - {"chief", "worker"})
    if strange:
        raise UsageError(
            f"{VARIABLE} has the job {strange[0]!r}: name workers, and at most one "
            "chief, for all of them train alike."
        )
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    if len(chiefs) > 1 or not chiefs + workers:
        raise UsageError(
            f"{VARIABLE} has {len(chiefs)} chiefs and {len(workers)} workers: name one "
            "worker or more, and at most one chief."
        )
    addresses = tuple(_address(name) for name in chiefs + workers)
    twice = [name for name in addresses if addresses.count(name) > 1]
    if twice:
        raise UsageError(f"{VARIABLE} has {twice[0]} twice: give each worker its own.")
    if not 0 <= rank < len(jobs.get(kind, [])):
        raise UsageError(
            f"{VARIABLE} says that this is {kind} {rank}, which its cluster does not "
            "have: count each job's tasks from 0."
        )
    return Cluster(addresses, rank + (len(chiefs) if kind == "worker" else 0))


def _address(name: Any) -> str:
    host, _, port = str(name).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(f"{VARIABLE} has the address {name!r}: write HOST:PORT.")
    return str(name)
