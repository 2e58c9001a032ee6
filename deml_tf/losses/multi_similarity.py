"""Multi-similarity: pairs weighted by themselves and by their anchor's other pairs."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.marked import largest_marked, log_one_plus_sum_marked
from deml_tf.losses.pair_loss import (
    PairLoss,
    check_above_zero,
    check_cosine,
    check_not_negative,
)
from deml_tf.losses.pairs import pairs_of


def multi_similarity(
    labels: Any,
    embeddings: Any,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float = 0.1,
    mining: bool = True,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's multi-similarity loss on the pairs that are informative.

    The mean over the learners of the following, with s the cosine of the anchor and
    another image:

        (1/alpha) * log(1 + sum_{P} exp(-alpha * (s - base)))
      + (1/beta)  * log(1 + sum_{N} exp( beta  * (s - base)))

    P are the anchor's positives with s - epsilon below the s of its most similar
    negative, N its negatives with s + epsilon above that of its least similar positive.
    Wang et al. (CVPR 2019). alpha, beta and epsilon are the paper's; base is that of
    their release, whose beta is 40. Without mining, P are all positives and N all
    negatives.

    With mining, which compares the two kinds, an anchor without a positive or without a
    negative in the batch costs 0; one with only P or only N empty costs the other term.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        alpha: Slope of positive pairs, above 0.
        beta: Slope of negative pairs, above 0.
        base: Cosine that pairs are compared with (lambda in the paper).
        epsilon: How far below the hardest pair of the other kind a pair may lie and
            still be informative, at least 0.
        mining: Whether informative pairs are chosen.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone, whose losses the
            replicas then average.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.

    Departures from the release, which leaves out pairs of one class with a cosine above
    1 - 1e-5, to exclude an image and itself (recognised here by their index), and
    leaves out anchors whose P or N is empty, though it divides by all anchors.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    cosines = batch.cosines()  # (j, b, B)
    positive, negative = batch.same[None], batch.other[None]
    if mining:
        bounds = [
            largest_marked(sign * cosines, marked)[..., None]
            for sign, marked in ((1, negative), (-1, positive))
        ]
        # An anchor that lacks one of the kinds keeps no pair at all; NaN stays in.
        easy = cosines - epsilon >= bounds[0]
        positive = ops.logical_and(positive, ops.logical_not(easy))
        easy = cosines + epsilon <= -bounds[1]
        negative = ops.logical_and(negative, ops.logical_not(easy))
    pull = log_one_plus_sum_marked(-alpha * (cosines - base), positive) / alpha
    push = log_one_plus_sum_marked(beta * (cosines - base), negative) / beta
    return ops.mean(pull + push, axis=0)


@keras.saving.register_keras_serializable(package="deml_tf")
class MultiSimilarity(PairLoss):
    """Multi-similarity as a Keras loss; see `multi_similarity` for the formula.

    Args:
        alpha: Slope of positive pairs, above 0.
        beta: Slope of negative pairs, above 0.
        base: Cosine with which the cosines of all pairs are compared, in [-1, 1].
        epsilon: Slack of the mining in cosine, at least 0; the larger, the more pairs
            are kept.
        mining: Whether easy pairs are left out: a positive that is at least epsilon
            more similar to the anchor than its most similar negative, and a negative
            that is at least epsilon less similar than its least similar positive.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(multi_similarity)

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float = 0.1,
        mining: bool = True,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "multi_similarity",
        dtype: Any = None,
    ):
        super().__init__(
            pairs,
            reduction,
            name,
            dtype,
            alpha=alpha,
            beta=beta,
            base=base,
            epsilon=epsilon,
            mining=mining,
        )
        check_above_zero(alpha=alpha, beta=beta)
        check_cosine(base=base)
        check_not_negative(epsilon=epsilon)
