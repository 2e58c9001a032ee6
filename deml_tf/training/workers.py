"""The workers of a training, as one of them sees them."""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from deml_tf.cli import termination
from deml_tf.cli.error_text import COLLECTIVE_ERRORS, is_lost
from deml_tf.cli.printing import say
from deml_tf.data.address import EXPOSED
from deml_tf.errors import DataError
from deml_tf.training.cluster import Cluster
from deml_tf.training.strategy import build_strategy


@dataclasses.dataclass(frozen=True)
class Workers:
    """This worker among all of them: what it computes on, and whether it writes.

    The default is one worker alone, on one device.

    Attributes:
        cluster: The machines.
        strategy: Decides where variables are and steps run.
    """

    cluster: Cluster = Cluster()
    strategy: tf.distribute.Strategy = dataclasses.field(
        default_factory=tf.distribute.get_strategy
    )

    @classmethod
    def start(cls, kind: str, logical_cpus: int | None, cluster: Cluster) -> "Workers":
        """Build the strategy; with several workers, wait until all of them are up.

        Args:
            kind: As in `build_strategy`.
            logical_cpus: As in `build_strategy`.
            cluster: From `read_cluster`.

        Returns:
            The workers.

        Raises:
            UsageError: The strategy needs what is not there.
        """
        if cluster.size > 1:
            say(f"Worker {cluster.rank} of {cluster.size}: waiting for all.")
            say(EXPOSED)
            with termination.at_once():
                return cls(cluster, build_strategy(kind, logical_cpus, cluster))
        return cls(cluster, build_strategy(kind, logical_cpus, cluster))

    @property
    def is_writer(self) -> bool:
        """Return whether this worker prints, scores and writes files."""
        return self.cluster.is_chief

    @property
    def replicas(self) -> int:
        """Return the number of replicas, on all machines."""
        return self.strategy.num_replicas_in_sync

    def agree(self, value: int) -> int:
        """Return the writer's value; every worker must call this.

        It returns only when all workers have called it.

        Args:
            value: Used if this worker is the writer, ignored otherwise.

        Returns:
            The value that the writer gave.
        """
        return self._sum(value if self.is_writer else 0)

    def any(self, value: bool) -> bool:
        """Return whether the value is true for any worker; every worker must call this.

        It returns only when all workers have called it.

        Args:
            value: This worker's value.
        """
        return self._sum(int(value)) > 0

    def wait(self) -> None:
        """Return when all workers have called this."""
        self._sum(0)

    def one_voice(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which only the writer prints; errors still reach all."""
        if self.is_writer:
            return contextlib.nullcontext()
        return contextlib.redirect_stdout(io.StringIO())

    def leave(self) -> None:
        """Return when all workers have called this, the last thing they do together.

        The worker that returns first may end its process while others still wait for
        its answer. So all meet twice: once to know that all are there, and once more,
        where one that is missing has only left first.
        """
        self.wait()
        with contextlib.suppress(*COLLECTIVE_ERRORS):
            self.wait()

    def distribute(
        self, read: Callable[[tuple[int, int, int]], tf.data.Dataset], batch_size: int
    ) -> Iterable[Any]:
        """Give each replica its own rows of every step's batch.

        Replica r of N takes the r-th of N equal blocks of rows, so the batch, its crops
        and its mirrors are those of a training on one replica, and each worker reads
        only what its own replicas need.

        Args:
            read: Function from a share `(start, stop, size)` of a batch to its dataset,
                as `training_dataset` takes it.
            batch_size: Rows of a step's batch, a multiple of the number of replicas.

        Returns:
            Iterable of what `strategy.run` takes for each step.
        """
        rows = batch_size // self.cluster.size
        first = self.cluster.rank * rows
        share = (first, first + rows, batch_size // self.replicas)
        if self.replicas == 1:
            return read(share)
        return self.strategy.distribute_datasets_from_function(lambda _: read(share))

    def _sum(self, value: int) -> int:
        if self.cluster.size == 1:
            return value
        added = self._adder(tf.constant(value, tf.int64))
        return int(self.strategy.experimental_local_results(added)[0])

    @functools.cached_property
    def _adder(self) -> Callable[[tf.Tensor], Any]:
        """Return a function, traced once, that adds one number of each worker."""
        share = len(self.strategy.extended.worker_devices)  # replicas of this worker

        def of_first(value: tf.Tensor) -> tf.Tensor:
            replica = tf.distribute.get_replica_context()
            first = replica.replica_id_in_sync_group % share == 0
            return replica.all_reduce("sum", value * tf.cast(first, value.dtype))

        return tf.function(
            lambda value: self.strategy.run(of_first, (value,)), autograph=False
        )

    @contextlib.contextmanager
    def lost_one_explained(self) -> Iterator[None]:
        """Explain an error of the block which means that another worker is gone.

        Raises:
            DataError: Another worker was lost while the block ran.
        """
        try:
            yield
        except COLLECTIVE_ERRORS as error:
            if self.cluster.size == 1 or not is_lost(error):
                raise
            raise DataError(
                f"Worker {self.cluster.rank} of {self.cluster.size} lost another one, "
                "so the training stops everywhere: see that worker's own output, then "
                "start all workers again with the same command; it goes on from the "
                "last checkpoint."
            ) from error
