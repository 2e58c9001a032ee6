"""The machines of a training, as the environment variable TF_CONFIG names them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deml_tf.data import address
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
        addresses: `HOST:PORT` of all workers, the chief's first.
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
    """Read TF_CONFIG; without it, a training has a single worker.

    Args:
        environment: Variables by name.

    Returns:
        The cluster, of one worker if there is no TF_CONFIG or only one worker in it.

    Raises:
        UsageError: TF_CONFIG is not what TensorFlow takes for synchronous training.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text or text == "{}":
        return Cluster()
    jobs, kind, rank = _parts(text)
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


def _parts(text: str) -> tuple[dict[str, list[Any]], str, int]:
    """Return the addresses by job, and which of them is this process's."""

    def wrong(what: str) -> UsageError:
        return UsageError(f"{VARIABLE}={text} {what}: write it as {_EXAMPLE}.")

    try:
        config = json.loads(text)
    except ValueError as error:
        raise wrong(f"is no JSON ({error})") from error
    for part in ("cluster", "task"):
        if not isinstance(config, dict) or not isinstance(config.get(part), dict):
            raise wrong(f"has no {part}")
    jobs, task = config["cluster"], config["task"]
    for job, names in jobs.items():
        if not isinstance(names, list):
            raise wrong(f"gives {job!r} no list of addresses")
    for part in ("type", "index"):
        if part not in task:
            raise wrong(f"has a task without {part}")
    try:
        return jobs, str(task["type"]), int(str(task["index"]))
    except ValueError as error:
        raise wrong(f"has the index {task['index']!r}") from error


def _address(name: Any) -> str:
    if not address.split(str(name)):
        raise UsageError(f"{VARIABLE} has the address {name!r}: {address.MEND}.")
    return str(name)
