"""Angular loss over the triangles of a batch."""

import math
from typing import Any

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import PairLoss
from deml_tf.losses.pairs import cosine_similarities, pairs_of

# Beyond it float32 would lose the smallest terms of the sum over negatives.
LARGEST_ALPHA = 60.0


def angular(
    labels: Any,
    embeddings: Any,
    *,
    alpha: float = 40.0,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the angular loss of the batch.

    The mean over the learners of the following mean over ordered pairs (a, p) of one
    class, with x the unit vectors:

        mean log(1 + sum_{n of another class} exp(f(a, p, n)))
        f(a, p, n) = 4 tan^2(alpha) (x_a + x_p) . x_n - 2 (1 + tan^2(alpha)) x_a . x_p

    Wang, Zhou, Wen, Liu & Lin (ICCV 2017), in the form for several classes, with every
    pair of a class. Alpha bounds the angle at the negative in the triangle; the paper
    tries 36 to 55 degrees, and 40 is the default of pytorch-metric-learning. A pair
    without a negative costs 0. A batch without pairs of one class contributes 0.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        alpha: In degrees, above 0, at most 60.
        pairs: Under several replicas, "global" for the images of the whole batch, or
            "replica" for those of one replica alone.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, from which p and n then come. This takes memory for j * m * m
            numbers.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    squared_tangent = math.tan(math.radians(alpha)) ** 2
    cosines = batch.cosines()  # (j, b, B)
    among = cosine_similarities(batch.columns, batch.columns)  # (j, B, B)
    # exp of the sum over a and p is a product: no tensor of all triplets.
    of_anchor = ops.exp(4 * squared_tangent * (cosines - 1))
    of_positive = ops.exp(4 * squared_tangent * (among - 1))
    negatives = of_anchor * ops.cast(batch.other, "float32")
    summed = ops.einsum("jan,jpn->jap", negatives, of_positive)
    is_empty = ops.logical_not(ops.any(batch.other, axis=-1))[:, None]  # (b, 1)
    # The inner `where` keeps log and its gradient finite on the branch not taken.
    summed = ops.where(is_empty, ops.ones_like(summed), summed)
    excess = ops.log(summed) + 8 * squared_tangent
    excess -= 2 * (1 + squared_tangent) * cosines
    costs = ops.softplus(excess) * ops.cast(batch.same, "float32")
    costs = ops.where(is_empty, ops.zeros_like(costs), costs)
    costs = ops.sum(ops.mean(costs, axis=0), axis=-1)
    return batch.share(costs, batch.count(batch.same))


@keras.saving.register_keras_serializable(package="deml_tf")
class Angular(PairLoss):
    """Angular loss as a Keras loss; see `angular` for the formula.

    Args:
        alpha: Bound on the angle at the negative, in degrees, above 0, at most 60.
        pairs: "global", or "replica" for images of each replica alone.
        reduction: As in `keras.losses.Loss`; "sum_over_batch_size" is the formula.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(angular)

    def __init__(
        self,
        alpha: float = 40.0,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "angular",
        dtype: Any = None,
    ):
        super().__init__(pairs, reduction, name, dtype, alpha=alpha)
        if not 0 < alpha <= LARGEST_ALPHA:
            raise UsageError(
                f"alpha={alpha}: it must be an angle in degrees above 0 and of at most "
                f"{LARGEST_ALPHA:g}."
            )
