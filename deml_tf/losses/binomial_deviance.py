"""Binomial deviance over the pairs of a batch: the metric loss."""

from typing import Any, ClassVar

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import PairLoss, check_above_zero, check_cosine
from deml_tf.losses.pairs import pairs_of


def binomial_deviance(
    labels: Any,
    embeddings: Any,
    *,
    alpha: float = 2.0,
    beta: float = 0.5,
    cost_positive: float = 1.0,
    cost_negative: float = 35.0,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the binomial deviance of the batch.

    The mean over the learners of the following, over unordered pairs p < q with s their
    cosine:

        (1/N+) sum_{same class}  log(1 + exp(-alpha * cost_positive * (s - beta)))
      + (1/N-) sum_{other class} log(1 + exp( alpha * cost_negative * (s - beta)))

    Chen & Deng (CVPR 2019) use it as their metric loss; constants from the authors'
    release. A batch without pairs of one kind contributes 0 for that kind.

    Under a strategy of several replicas, call it in the replica context: the rows are
    the replica's own, the columns and counts those of all replicas. The mean over all
    rows is then the formula on the global batch, and so are the gradients once each
    replica's mean has been divided by the number of replicas, as Keras losses do.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        alpha: Slope, above 0.
        beta: Cosine at which both kinds of pair cost log 2.
        cost_positive: Weight of pairs of one class in the exponent, above 0.
        cost_negative: Weight of pairs of two classes in the exponent, above 0.
            The released U512 has 25.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone (the release), whose
            losses the replicas then average.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.

    Departure from the release, which logs another number and does not use its gradient:
    this is the function whose gradient the release follows.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    same, other = (ops.cast(m, "float32") for m in (batch.same, batch.other))
    weight = ops.divide_no_nan(same, batch.count(batch.same))
    weight += ops.divide_no_nan(other, batch.count(batch.other))
    slope = alpha * cost_negative * (1 - same) - alpha * cost_positive * same
    # softplus(x) = log(1 + exp(x)) without overflow.
    deviance = weight * ops.softplus(slope * (batch.cosines() - beta))  # (j, b, B)
    anchors = ops.sum(ops.mean(deviance, axis=0), axis=-1)  # (b,)
    return batch.share(anchors, 1.0)


@keras.saving.register_keras_serializable(package="deml_tf")
class BinomialDeviance(PairLoss):
    """Binomial deviance as a Keras loss; see `binomial_deviance` for the formula.

    Args:
        alpha: Slope of the cost of both kinds of pair, above 0.
        beta: Cosine at which a pair of either kind costs log 2, in [-1, 1].
        cost_positive: Weight of pairs of one class in the exponent, above 0.
        cost_negative: Weight of pairs of two classes in the exponent, above 0. The
            release has 35 for DeML on CUB-200-2011 and 25 for U512; a training with one
            scale and one learner takes 25 by default.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`. "sum_over_batch_size", the default, is
            the formula, which Keras also divides by the number of replicas.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.

    Raises:
        UsageError: If a constant is out of its range.
    """

    # Arguments of the release's U512, the baseline of one scale and one learner.
    BASELINE: ClassVar[dict[str, float]] = {"cost_negative": 25.0}
    function = staticmethod(binomial_deviance)

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 0.5,
        cost_positive: float = 1.0,
        cost_negative: float = 35.0,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "binomial_deviance",
        dtype: Any = None,
    ):
        super().__init__(
            pairs,
            reduction,
            name,
            dtype,
            alpha=alpha,
            beta=beta,
            cost_positive=cost_positive,
            cost_negative=cost_negative,
        )
        check_above_zero(
            alpha=alpha, cost_positive=cost_positive, cost_negative=cost_negative
        )
        check_cosine(beta=beta)
