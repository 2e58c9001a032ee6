"""N-pairs loss: softmax over the other images of a batch."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.marked import FAR
from deml_tf.losses.pair_loss import PairLoss, check_not_negative
from deml_tf.losses.pairs import pairs_of


def n_pairs(
    labels: Any,
    embeddings: Any,
    *,
    norm_weight: float = 0.002,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the n-pairs loss of the batch.

    The mean over the learners of the following, over anchors p that have P(p), other
    images of their class, and with s the dot product of the embeddings as they are:

        mean ( log sum_{q != p} exp(s(p, q)) - mean_{q in P(p)} s(p, q) )
      + norm_weight / 2 * mean over all images ||x||^2

    Sohn (NeurIPS 2016), with the softmax cross-entropy over all other images whose
    target the positives share, as in TensorFlow Addons; the default weight of the norms
    is that of the loss in tf.contrib, while that of Addons is 0. An anchor without a
    positive is left out of the first term.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any floating
            type, not normalised; computed in float32.
        norm_weight: Weight of the squared lengths, at least 0.
        pairs: Under several replicas, "global" for the images of the whole batch, or
            "replica" for those of one replica alone.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself. The term of the norms
            is then left out: it belongs to the batch's own loss.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    similarities = ops.einsum("pjd,qjd->jpq", batch.rows, batch.columns)
    costs = n_pairs_costs(similarities, batch.same, batch.other)  # (j, b)
    anchors = ops.cast(ops.any(batch.same, axis=-1), "float32")
    costs = batch.share(ops.mean(costs, axis=0), batch.total(anchors))
    if norm_weight and references is None:
        squared = ops.sum(ops.square(batch.rows), axis=-1)  # (b, j)
        costs += norm_weight / 2 * ops.mean(squared, axis=-1)
    return costs


def n_pairs_costs(similarities: Any, same: Any, other: Any) -> Any:
    """Return the cross-entropy of each row, whose positives share the target.

    Args:
        similarities: `(..., b, B)`, the logits.
        same: `(b, B)`, bool, the positives.
        other: `(b, B)`, bool, the negatives; what is neither is ignored.

    Returns:
        `(..., b)`; 0 for a row without a positive.
    """
    positives = ops.cast(same, "float32")
    count = ops.sum(positives, axis=-1, keepdims=True)
    targets = ops.divide_no_nan(positives, count)
    there = ops.logical_or(same, other)
    logits = ops.where(there, similarities, -FAR * ops.ones_like(similarities))
    # One column more that counts nothing: there may be no other.
    nothing = -FAR * ops.ones_like(ops.sum(similarities, axis=-1, keepdims=True))
    logits = ops.concatenate([logits, nothing], axis=-1)
    surplus = ops.logsumexp(logits, axis=-1, keepdims=True) - similarities
    return ops.sum(targets * surplus, axis=-1)


@keras.saving.register_keras_serializable(package="deml_tf")
class NPairs(PairLoss):
    """N-pairs loss as a Keras loss; see `n_pairs` for the formula.

    Args:
        norm_weight: Weight of the squared lengths of the embeddings, which are not
            normalised, at least 0.
        pairs: "global", or "replica" for images of each replica alone.
        reduction: As in `keras.losses.Loss`; "sum_over_batch_size" is the formula.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(n_pairs)
    takes_lengths = True

    def __init__(
        self,
        norm_weight: float = 0.002,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "n_pairs",
        dtype: Any = None,
    ):
        super().__init__(pairs, reduction, name, dtype, norm_weight=norm_weight)
        check_not_negative(norm_weight=norm_weight)
