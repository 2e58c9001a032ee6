"""Circle loss: pairs weighted by how far they are from their optimum."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.marked import log_sum_marked
from deml_tf.losses.pair_loss import PairLoss, check_above_zero, check_cosine
from deml_tf.losses.pairs import pairs_of


def circle(
    labels: Any,
    embeddings: Any,
    *,
    margin: float = 0.4,
    gamma: float = 80.0,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the circle loss of the batch.

    The mean of the following over the learners and over the anchors that have a
    positive and a negative, with s the cosine of the anchor and another image:

        log(1 + sum_{n} exp( gamma * a_n * (s_n - margin))
              * sum_{p} exp(-gamma * a_p * (s_p - 1 + margin)))

        a_n = max(0, s_n + margin)        a_p = max(0, 1 + margin - s_p)

    Sun et al. (CVPR 2020), with their constants for fine-grained retrieval; for faces
    they use a margin of .25 and a gamma of 256. The gradient takes the weights a as
    constants, as in the paper; Keras's `circle`, which has the same values,
    differentiates them. Other anchors contribute 0 and are not counted.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        margin: Relaxation m, in cosine, in [-1, 1].
        gamma: Scale, above 0.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone, whose losses the
            replicas then average.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    cosines = batch.cosines()  # (j, b, B)
    fixed = ops.stop_gradient(cosines)
    to_positive = ops.relu(1 + margin - fixed) * (cosines - 1 + margin)
    to_negative = ops.relu(fixed + margin) * (cosines - margin)
    costs = ops.softplus(
        log_sum_marked(-gamma * to_positive, batch.same)
        + log_sum_marked(gamma * to_negative, batch.other)
    )
    counted = ops.logical_and(ops.any(batch.same, axis=1), ops.any(batch.other, axis=1))
    counted = ops.cast(counted, "float32")  # (b,)
    return batch.share(counted * ops.mean(costs, axis=0), batch.total(counted))


@keras.saving.register_keras_serializable(package="deml_tf")
class Circle(PairLoss):
    """Circle loss as a Keras loss; see `circle` for the formula.

    Args:
        margin: Relaxation in cosine, in [-1, 1]: cosines of pairs of one class are
            compared with 1 - margin, those of pairs of two classes with margin.
        gamma: Factor on the weighted cosines in the exponents, above 0.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(circle)

    def __init__(
        self,
        margin: float = 0.4,
        gamma: float = 80.0,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "circle",
        dtype: Any = None,
    ):
        super().__init__(pairs, reduction, name, dtype, margin=margin, gamma=gamma)
        check_cosine(margin=margin)
        check_above_zero(gamma=gamma)
