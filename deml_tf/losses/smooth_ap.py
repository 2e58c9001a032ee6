"""Average precision of each image's ranking, smoothed: Smooth-AP."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import PairLoss, check_above_zero
from deml_tf.losses.pairs import pairs_of


def smooth_ap(
    labels: Any,
    embeddings: Any,
    *,
    temperature: float = 0.01,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the Smooth-AP loss of the batch.

    The mean over the learners, and over anchors that have a positive, of

        1 - (1/|P|) * sum_{p in P} (1 + sum_{q in P, not p} h(q, p))
                                 / (1 + sum_{q in P or N, not p} h(q, p))

    with h(q, p) = 1 / (1 + exp((s_p - s_q) / temperature)), a smooth count of what is
    ranked above p, and s the cosine of the anchor and another image: the average
    precision of the ranking of all others. Brown et al. (ECCV 2020), with their
    temperature. Anchors without a positive contribute 0 and are not counted. It takes
    memory for j * b * B * B numbers.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        temperature: Divides the differences of cosines, above 0.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone, whose losses the
            replicas then average.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.

    Departure from the release, which ranks the anchor among its own positives, so that
    all precisions are higher, and requires the same number of images of each class.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    same, other = (ops.cast(m, "float32") for m in (batch.same, batch.other))
    cosines = batch.cosines()  # (j, b, B)
    above = ops.sigmoid((cosines[..., None, :] - cosines[..., None]) / temperature)
    # (j, b, p, q). With itself a positive has h = 1/2, which the sum leaves out.
    among = 0.5 + ops.einsum("jbpq,bq->jbp", above, same)
    beyond = ops.einsum("jbpq,bq->jbp", above, other)
    # Away from positives `among` means nothing, and is not used.
    precision = same * among / (among + beyond)
    positives = ops.sum(same, axis=-1)  # (b,)
    counted = ops.cast(positives > 0, "float32")
    precision = ops.divide_no_nan(ops.sum(precision, axis=-1), positives)
    return batch.share(
        counted * (1 - ops.mean(precision, axis=0)), batch.total(counted)
    )


@keras.saving.register_keras_serializable(package="deml_tf")
class SmoothAP(PairLoss):
    """Smooth-AP as a Keras loss; see `smooth_ap` for the formula.

    Args:
        temperature: Divisor of the differences of cosines, above 0; the smaller, the
            closer the loss is to 1 less the true average precision.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(smooth_ap)

    def __init__(
        self,
        temperature: float = 0.01,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "smooth_ap",
        dtype: Any = None,
    ):
        super().__init__(pairs, reduction, name, dtype, temperature=temperature)
        check_above_zero(temperature=temperature)
