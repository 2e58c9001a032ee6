"""Lifted structure loss over the pairs of a batch."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.marked import FAR
from deml_tf.losses.pair_loss import PairLoss, check_not_negative
from deml_tf.losses.pairs import pairs_among, pairs_of
from deml_tf.losses.replicas import gather_rows


def lifted_structure(
    labels: Any,
    embeddings: Any,
    *,
    margin: float = 1.0,
    normalise: bool = False,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the lifted structure loss of the batch.

    The mean over the learners of the following, over the unordered pairs p < q of one
    class:

        1 / (2 N+) sum max(0, J(p, q))^2
        J(p, q) = D(p, q) + log( sum_{k of another class than p} exp(margin - D(p, k))
                               + sum_{k of another class than q} exp(margin - D(q, k)) )

    with D the Euclidean distance. Song, Xiang, Jegelka & Savarese (CVPR 2016), equation
    4, whose embeddings are not normalised. A batch without pairs of one class, or
    without pairs of two, contributes 0.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any floating
            type; computed in float32.
        margin: In units of D, at least 0.
        normalise: Whether distances are of the unit vectors.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself: q and k are references,
            which takes memory for j * m * m numbers.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    distances = batch.distances(normalise)  # (j, b, B)
    of_rows = _negatives(batch.other, distances, margin)
    if references is None:
        by_row = ops.transpose(of_rows)  # (b, j)
        of_columns = gather_rows(by_row) if batch.is_global else by_row
        of_columns = ops.transpose(of_columns)  # (j, B)
    else:
        columns = pairs_among(references)
        of_columns = _negatives(columns.other, columns.distances(normalise), margin)
    costs = ops.square(ops.relu(distances + joined(of_rows, of_columns))) / 2
    costs = ops.sum(costs * ops.cast(batch.same, "float32"), axis=-1)  # (j, b)
    return batch.share(ops.mean(costs, axis=0), batch.count(batch.same))


def _negatives(other: Any, distances: Any, margin: float) -> Any:
    """Return log sum exp(margin - D) over the negatives of each row, `(j, b)`."""
    terms = ops.where(other, margin - distances, -FAR * ops.ones_like(distances))
    nothing = -FAR * ops.ones_like(ops.sum(distances, axis=-1, keepdims=True))
    return ops.logsumexp(ops.concatenate([terms, nothing], axis=-1), axis=-1)


def joined(of_rows: Any, of_columns: Any) -> Any:
    """Return log(exp(of_rows) + exp(of_columns)) for each pair.

    Not by logaddexp, whose gradient at equal arguments is not shared by both.

    Args:
        of_rows: `(j, b)`.
        of_columns: `(j, B)`.

    Returns:
        `(j, b, B)`.
    """
    zeros = ops.zeros_like(of_rows[..., None] + of_columns[..., None, :])
    both = [of_rows[..., None] + zeros, of_columns[..., None, :] + zeros]
    return ops.logsumexp(ops.stack(both), axis=0)


@keras.saving.register_keras_serializable(package="deml_tf")
class LiftedStructure(PairLoss):
    """Lifted structure loss as a Keras loss; see `lifted_structure` for the formula.

    The defaults are those of `LiftedStructLoss` in TensorFlow Addons.

    Args:
        margin: Distance beyond which negatives cost little, at least 0.
        normalise: Whether distances are those of the unit vectors, unlike in the paper.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`; "sum_over_batch_size" is the formula.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(lifted_structure)

    def __init__(
        self,
        margin: float = 1.0,
        normalise: bool = False,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "lifted_structure",
        dtype: Any = None,
    ):
        super().__init__(
            pairs, reduction, name, dtype, margin=margin, normalise=normalise
        )
        self.takes_lengths = not normalise
        check_not_negative(margin=margin)
