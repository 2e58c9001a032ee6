"""Contrastive loss over the pairs of a batch."""

from typing import Any, Literal

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import PairLoss, check_not_negative, check_one_of
from deml_tf.losses.pairs import Pairs, pairs_of

AVERAGES = ("kind", "pairs", "active")


def contrastive(
    labels: Any,
    embeddings: Any,
    *,
    margin: float = 1.0,
    positive_margin: float = 0.0,
    squared: bool = True,
    average: str = "kind",
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the contrastive loss of the batch.

    The mean over the learners of the following, over unordered pairs p < q with D the
    Euclidean distance of the unit vectors:

        (1/N+) sum_{same class}  max(0, D - positive_margin)^2
      + (1/N-) sum_{other class} max(0, margin - D)^2

    Hadsell, Chopra & LeCun (CVPR 2006), without their factor of one half and with
    each kind of pair averaged by itself, because a batch of many classes has far more
    pairs of two classes. A batch without pairs of one kind contributes 0 for that
    kind.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        margin: Distance beyond which pairs of two classes cost nothing, at least 0.
        positive_margin: Distance within which pairs of one class cost nothing, at
            least 0.
        squared: Whether the two hinges are squared, as in the paper.
        average: "kind" for the formula above; "pairs" to divide both sums by the
            number N+ + N- of all pairs, as TensorFlow Addons does with a list of them;
            "active" to divide each sum by the number of its pairs that cost something,
            as pytorch-metric-learning does.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    distances = batch.distances()  # (j, b, B)
    return hinges(batch, distances, margin, positive_margin, squared, average)


def hinges(
    batch: Pairs,
    distances: Any,
    margin: float,
    positive_margin: float,
    squared: bool,
    average: str,
) -> Any:
    """Return each anchor's share of the two hinges on distances.

    Args:
        batch: Says which pairs are of one class, and which of two: `(b, B)`, or
            `(j, b, B)` where it depends on the learner.
        distances: `(j, b, B)`.
        margin: As in `contrastive`.
        positive_margin: As in `contrastive`.
        squared: As in `contrastive`.
        average: As in `contrastive`.

    Returns:
        `(b,)`, float32; its mean over the batch is the loss.
    """
    everything = batch.count(batch.same) + batch.count(batch.other)
    shares = []
    for marked, excess in (
        (batch.same, distances - positive_margin),
        (batch.other, margin - distances),
    ):
        kind = ops.cast(marked, "float32")
        costs = kind * ops.relu(excess)  # NaN stays, even beside 0
        count = everything if average == "pairs" else batch.count(marked)
        if average == "active":
            count = batch.count(ops.logical_not(costs <= 0))  # NaN counts
        costs = ops.sum(ops.square(costs) if squared else costs, axis=-1)
        shares.append(ops.divide_no_nan(costs, count[..., None]))  # (j, b)
    return batch.share(ops.mean(shares[0] + shares[1], axis=0), 1.0)


@keras.saving.register_keras_serializable(package="deml_tf")
class Contrastive(PairLoss):
    """Contrastive loss as a Keras loss; see `contrastive` for the formula.

    Args:
        margin: Distance of unit vectors beyond which pairs of two classes cost
            nothing, at least 0.
        positive_margin: Distance of unit vectors within which pairs of one class cost
            nothing, at least 0.
        squared: Whether the two hinges on distances are squared, as in the paper.
        average: Divisor of the sum over pairs of each kind: "kind", the number of its
            pairs; "pairs", the number of pairs of both kinds; "active", the number of
            its pairs that cost something.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`; "sum_over_batch_size" is the formula.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(contrastive)

    def __init__(
        self,
        margin: float = 1.0,
        positive_margin: float = 0.0,
        squared: bool = True,
        average: Literal["kind", "pairs", "active"] = "kind",
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "contrastive",
        dtype: Any = None,
    ):
        super().__init__(
            pairs,
            reduction,
            name,
            dtype,
            margin=margin,
            positive_margin=positive_margin,
            squared=squared,
            average=average,
        )
        check_not_negative(margin=margin, positive_margin=positive_margin)
        check_one_of(AVERAGES, average=average)
