"""Contrastive loss of signal-to-noise ratios."""

import dataclasses
from typing import Any, Literal

import keras

from deml_tf.losses.contrastive import AVERAGES, hinges
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import PairLoss, check_not_negative, check_one_of
from deml_tf.losses.pairs import pairs_of, unit_vectors

# Variance over dimensions under which an anchor is no signal.
VARIANCE_FLOOR = 1e-12


def snr(
    labels: Any,
    embeddings: Any,
    *,
    margin: float = 1.0,
    positive_margin: float = 0.0,
    average: str = "kind",
    mean_weight: float = 0.005,
    normalise: bool = True,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the contrastive loss of SNR distances.

    The mean over the learners of the following, over ordered pairs of an anchor p and
    another image q, and with var the variance over the d dimensions:

        D(p, q) = var(x_p - x_q) / var(x_p)
        (1/N+) sum_{same class}  max(0, D - positive_margin)
      + (1/N-) sum_{other class} max(0, margin - D)
      + mean_weight * mean over all images |sum over dimensions of x|

    Yuan, Deng, Tang, Tang & Chen (CVPR 2019): the difference is the noise and the
    anchor the signal, and the last term pulls the means of the embeddings, which the
    ratio does not see, to 0. A batch without pairs of one kind contributes 0 for that
    kind, and an anchor whose dimensions are all alike is not compared.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any floating
            type; computed in float32.
        margin: Ratio beyond which pairs of two classes cost nothing, at least 0.
        positive_margin: Ratio within which pairs of one class cost nothing, at
            least 0.
        average: As in `contrastive`: "kind", "pairs" or "active".
        mean_weight: Weight of the pull of the means, at least 0.
        normalise: Whether x are the unit vectors, as in pytorch-metric-learning, or
            the embeddings as they are, as in the paper.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself. The term of the means
            is then left out: it belongs to the batch's own loss.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    rows, columns = batch.rows, batch.columns
    if normalise:
        rows, columns = unit_vectors(rows), unit_vectors(columns)
    signal, others = (x - ops.mean(x, -1, keepdims=True) for x in (rows, columns))
    variances = ops.transpose(ops.mean(ops.square(signal), axis=-1))[..., None]
    is_none = variances <= VARIANCE_FLOOR  # (j, b, 1); NaN stays NaN
    noise = ops.einsum("pjd,qjd->jpq", signal, others) / rows.shape[-1]
    of_others = ops.transpose(ops.mean(ops.square(others), axis=-1))[:, None]
    noise = ops.relu(variances + of_others - 2 * noise)
    ratios = noise / ops.where(is_none, ops.ones_like(variances), variances)
    same, other = (
        ops.logical_and(marked, ops.logical_not(is_none))
        for marked in (batch.same, batch.other)
    )
    of_signals = dataclasses.replace(batch, same=same, other=other)
    costs = hinges(of_signals, ratios, margin, positive_margin, False, average)
    if mean_weight and references is None:
        sums = ops.abs(ops.sum(rows, axis=-1))  # (b, j)
        costs += mean_weight * ops.mean(sums, axis=-1)
    return costs


@keras.saving.register_keras_serializable(package="deml_tf")
class SNR(PairLoss):
    """Contrastive loss of SNR distances as a Keras loss; see `snr` for the formula.

    Args:
        margin: SNR distance, a ratio of variances, beyond which pairs of two classes
            cost nothing, at least 0.
        positive_margin: SNR distance within which pairs of one class cost nothing, at
            least 0.
        average: Divisor of the sum over pairs of each kind: "kind", the number of its
            pairs; "pairs", the number of pairs of both kinds; "active", the number of
            its pairs that cost something.
        mean_weight: Weight of the term that pulls the means of the embeddings to 0, at
            least 0.
        normalise: Whether the embeddings are normalised first, unlike in the paper.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`; "sum_over_batch_size" is the formula.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(snr)

    def __init__(
        self,
        margin: float = 1.0,
        positive_margin: float = 0.0,
        average: Literal["kind", "pairs", "active"] = "kind",
        mean_weight: float = 0.005,
        normalise: bool = True,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "snr",
        dtype: Any = None,
    ):
        super().__init__(
            pairs,
            reduction,
            name,
            dtype,
            margin=margin,
            positive_margin=positive_margin,
            average=average,
            mean_weight=mean_weight,
            normalise=normalise,
        )
        self.takes_lengths = not normalise
        check_not_negative(
            margin=margin, positive_margin=positive_margin, mean_weight=mean_weight
        )
        check_one_of(AVERAGES, average=average)
