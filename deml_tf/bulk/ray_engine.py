"""Shards embedded by the machines of a Ray cluster.

Ray gives shard numbers to actors; each loads the export once and writes its shards
itself, as any other process does. So the export, the images and the output need the
same paths on all machines.
"""

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from deml_tf.bulk.embed_shards import embed_shards
from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.progress import EmbeddingProgress
from deml_tf.bulk.served_export import Export, ServedExport
from deml_tf.bulk.shard_format import shard_name
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.cli.error_text import first_sentence
from deml_tf.errors import DataError, UsageError


class RayCluster:
    """The cluster of RAY_ADDRESS, or one that is started on this machine.

    Use it as a context manager, which disconnects at the end.

    Args:
        workers: Actors. Each gets as many CPUs and GPUs of one machine as all can have.

    Raises:
        UsageError: Ray is not installed, or the cluster has fewer CPUs than `workers`.
        DataError: The cluster cannot be reached.
    """

    def __init__(self, workers: int):
        self._ray, self._workers = _load(), workers
        # A cluster that is already running accepts no settings.
        own = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        try:
            self._ray.init(log_to_driver=False, logging_level="error", **own)
        except (ConnectionError, ValueError) as error:
            raise DataError(
                f"RAY_ADDRESS={os.environ.get('RAY_ADDRESS')} does not answer "
                f"({first_sentence(error)}): start the cluster, or unset it."
            ) from error
        try:
            alive = [node for node in self._ray.nodes() if node["Alive"]]
            self._shares = _shares([node["Resources"] for node in alive], workers)
        except UsageError:
            self._ray.shutdown()
            raise

    def __enter__(self) -> "RayCluster":
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the actors, and the cluster if it was started here."""
        self._ray.shutdown()

    def embed_shards(
        self,
        export: Export,
        images: Sequence[ListedImage],
        plan: ShardPlan,
        shards: Sequence[int],
        output: Path,
        progress: EmbeddingProgress,
    ) -> None:
        """Embed the images of shards, each written by an actor when it is full.

        Args:
            export: The export.
            images: All images, of these and of other shards.
            plan: Which image is in which shard.
            shards: Numbers of the shards to write.
            output: Their folder.
            progress: Updated after each shard.

        Raises:
            DataError: An actor failed, or was lost again and again.
        """
        data = self._ray.data
        data.DataContext.get_current().enable_progress_bars = False  # ours is shown
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # and our message
        place = output.absolute(), export._replace(folder=export.folder.absolute())
        numbers = [{"shard": number} for number in shards]
        waiting = data.from_items(numbers, override_num_blocks=len(numbers))
        written = waiting.map_batches(
            _ShardEmbedder,
            fn_constructor_args=(*place, self._ray.put([*images]), plan),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=min(self._workers, len(shards))),
            **self._shares,
        )
        try:
            for row in written.iter_rows():
                if row["problem"]:
                    raise DataError(row["problem"])
                progress.advance(len(plan.rows(row["shard"])))
                progress.finish(shard_name(row["shard"]))
        except self._ray.exceptions.RayError as error:
            raise DataError(
                f"Ray has failed ({first_sentence(error)}): mend that, and the same "
                "command goes on."
            ) from error


class _ShardEmbedder:
    """What an actor holds, and does with each shard."""

    def __init__(self, output: Path, export: Export, images: Any, plan: ShardPlan):
        self._output, self._export, self._plan = output, export, plan
        self._images: Sequence[ListedImage] = _load().get(images)
        self._served: ServedExport | None = None

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Embed one shard; return a problem, as Ray would retry if it were raised."""
        problem = ""
        try:
            self._embed(int(batch["shard"][0]))
        except (DataError, OSError) as error:
            problem = str(error)
        return {"shard": batch["shard"], "problem": [problem]}

    def _embed(self, shard: int) -> None:
        self._served = self._served or ServedExport(self._export)
        unseen = EmbeddingProgress(len(self._plan.rows(shard)))
        work = (self._images, self._plan, [shard], self._output)
        embed_shards(self._served, *work, unseen)


def _load() -> Any:
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError(
            'engine=ray needs Ray: pip install "deml_tf[bulk]", or leave the flag out.'
        ) from error


def _shares(machines: Sequence[Mapping[str, float]], workers: int) -> dict[str, float]:
    """Return the most that each actor can have if all are to fit on the machines.

    Args:
        machines: The resources of each: "CPU", "GPU".
        workers: Number of actors.
    """
    with_gpus = [has for has in machines if has.get("GPU", 0)]
    cpus = [int(has.get("CPU", 0)) for has in with_gpus or machines]
    gpus = [int(has["GPU"]) for has in with_gpus]
    if sum(cpus) < workers:
        raise UsageError(
            f"workers={workers}: the Ray cluster has {sum(cpus)} CPUs"
            f"{' on machines with GPUs' if gpus else ''}; give as many or fewer."
        )
    rooms, shares = [workers] * len(cpus), {}  # for how many actors
    if gpus:
        wholes = range(max(gpus), 0, -1)  # Ray refuses 1.5
        parts = (Fraction(1, n) for n in range(2, workers + 1))
        share = next(s for s in (*wholes, *parts) if _fit(gpus, s, cpus) >= workers)
        rooms, shares = [n // share for n in gpus], {"num_gpus": float(share)}
    wholes = range(max(cpus), 0, -1)
    share = next(s for s in wholes if _fit(cpus, s, rooms) >= workers)
    return {"num_cpus": share, **shares}


def _fit(has: Sequence[int], share: Fraction | int, rooms: Sequence[int]) -> int:
    """Count the shares that fit on all machines, up to `rooms` on each."""
    pairs = zip(has, rooms, strict=True)
    return sum(min(int(n // share), room) for n, room in pairs)
