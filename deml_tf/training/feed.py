"""Each replica's share of every batch."""

import tensorflow as tf

from deml_tf.training.cluster import Cluster


def distribute(
    read, batch_size: int, strategy: tf.distribute.Strategy, cluster: Cluster
):
    """Gives each replica its own rows of every step's batch.

    Replica r of N takes the r-th of N equal runs of rows, so that the batch, its cuts
    and its mirrors are those of one replica, and each worker reads only what its own
    replicas need.

    Args:
        read: Function from a share `(start, stop, size)` of a batch to its dataset, as
            `training_dataset` takes it.
        batch_size: Rows of a step's batch, a multiple of the number of replicas.
        strategy: Of the training.
        cluster: This worker among the others.

    Returns:
        Iterable of what `strategy.run` takes for each step.
    """
    size = batch_size // strategy.num_replicas_in_sync
    rows = batch_size // cluster.size
    share = (cluster.rank * rows, (cluster.rank + 1) * rows, size)
    if strategy.num_replicas_in_sync == 1:
        return read(share)
    return strategy.distribute_datasets_from_function(lambda context: read(share))
