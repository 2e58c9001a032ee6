"""Triplet loss with the sampling of its triplets."""

from typing import Any, Literal

import keras

from deml_tf.losses.distance_weighted import negative_shares
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.marked import FAR, largest_marked
from deml_tf.losses.pair_loss import PairLoss, check_not_negative, check_one_of
from deml_tf.losses.pairs import Pairs, pairs_of

SAMPLINGS = ("semi_hard", "hard", "easy_positive", "distance_weighted", "all")


def triplet(
    labels: Any,
    embeddings: Any,
    *,
    margin: float = 1.0,
    sampling: str = "semi_hard",
    soft: bool = False,
    squared: bool = False,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the triplet loss of the batch.

    The mean over the learners, and over triplets of an anchor a, a positive p of its
    class and a negative n of another one, of

        max(0, D(a, p) - D(a, n) + margin)    or, soft, log(1 + exp(D(a, p) - D(a, n)))

    with D the Euclidean distance of the unit vectors. `sampling` chooses the triplets:

    - "semi_hard": each positive pair (a, p) with the nearest n beyond p, however far
      beyond, or with the farthest n if there is none; mean over positive pairs.
      Schroff, Kalenichenko & Philbin (CVPR 2015) in the form of TensorFlow Addons.
    - "hard": each a with its farthest p and its nearest n; mean over anchors. Hermans,
      Beyer & Leibe (arXiv 2017), batch hard.
    - "easy_positive": each a with its nearest p, and with n as "semi_hard" for that
      pair; mean over anchors. Xuan, Stylianou & Pless (WACV 2020).
    - "distance_weighted": each positive pair with every n, weighted by the probability
      that it is drawn, see `negative_shares`: the expectation over the draws, without
      random numbers; mean over positive pairs. Wu et al. (ICCV 2017).
    - "all": every triplet; mean over those that cost something. Hermans et al., batch
      all.

    An anchor without a positive or without a negative contributes 0, even where it is
    counted in the mean. "distance_weighted" takes memory for j * b * B * B numbers, the
    others for j * b * B. "all", if soft, has no second derivatives. With "global" pairs
    nearest and farthest are those among the images of all replicas.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        margin: In units of D, at least 0; not used if soft.
        sampling: See above.
        soft: Whether to use the softplus instead of the hinge.
        squared: Whether D is the squared distance.
        pairs: Under several replicas, "global" for the triplets of the whole batch, or
            "replica" for those that lie on one replica alone.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, from which positives and negatives then come.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    distances = batch.squared_distances() if squared else batch.distances()

    def cost(positive: Any, negative: Any) -> Any:
        excess = positive - negative
        return ops.softplus(excess) if soft else ops.relu(excess + margin)

    if sampling in ("hard", "easy_positive"):
        costs = _one_triplet(batch, distances, cost, sampling)
    elif sampling == "semi_hard":
        costs = _semi_hard(batch, distances, cost)
    elif sampling == "distance_weighted":
        costs = _weighted(batch, distances, cost)
    elif soft:
        costs = _every_softplus(batch, distances)
    else:
        costs = _every_hinge(batch, distances, margin)
    return ops.mean(costs, axis=0)


def _one_triplet(batch: Pairs, distances: Any, cost: Any, sampling: str) -> Any:
    """Return the cost of one triplet per anchor, `(j, b)`."""
    same, other = batch.same, batch.other
    if sampling == "hard":
        positive = largest_marked(distances, same)
        negative = _nearest(other, distances)
    else:
        positive = _nearest(same, distances)
        beyond = ops.logical_and(other, distances > positive[..., None])
        negative = ops.where(
            ops.any(beyond, axis=-1),
            _nearest(beyond, distances),
            largest_marked(distances, other),
        )
    is_triplet = ops.logical_and(ops.any(same, axis=-1), ops.any(other, axis=-1))
    zeros = ops.zeros_like(positive)
    # Inner `where`: no gradient comes from what is not a distance.
    positive = ops.where(is_triplet, positive, zeros)
    negative = ops.where(is_triplet, negative, zeros)
    return ops.where(is_triplet, cost(positive, negative), zeros)


def _semi_hard(batch: Pairs, distances: Any, cost: Any) -> Any:
    """Return each anchor's share, `(j, b)`, of the mean over positive pairs.

    Columns are sorted by distance, so that the nearest negative beyond a positive is
    the next one: no tensor of all triplets. At equal distances negatives come first,
    because they do not lie beyond.
    """
    shape = ops.shape(distances)
    same, other = (ops.broadcast_to(m[None], shape) for m in (batch.same, batch.other))
    order = ops.argsort(ops.cast(same, "int32"), axis=-1)
    by_distance = ops.argsort(ops.take_along_axis(distances, order, axis=-1), axis=-1)
    order = ops.take_along_axis(order, by_distance, axis=-1)
    only = ops.where(other, distances, FAR * ops.ones_like(distances))
    negatives = ops.take_along_axis(distances, ops.argsort(only, axis=-1), axis=-1)
    same, other, distances = (
        ops.take_along_axis(x, order, axis=-1) for x in (same, other, distances)
    )
    passed = ops.cumsum(ops.cast(other, "int32"), axis=-1)
    last = passed[..., -1:] - 1
    index = ops.maximum(ops.minimum(passed, last), 0)
    negative = ops.take_along_axis(negatives, index, axis=-1)
    is_triplet = ops.logical_and(same, last >= 0)
    negative = ops.where(is_triplet, negative, ops.zeros_like(negative))
    positive = ops.where(is_triplet, distances, ops.zeros_like(negative))
    costs = ops.cast(is_triplet, "float32") * cost(positive, negative)
    return batch.share(ops.sum(costs, axis=-1), batch.count(batch.same))


def _every_hinge(batch: Pairs, distances: Any, margin: float) -> Any:
    """Return each anchor's share, `(j, b)`, of the mean over triplets that cost.

    What a positive costs follows from how many negatives lie within its margin and
    from the sum of their distances: columns are sorted by where they begin to count,
    and there is no tensor of all triplets. At equal places positives come first,
    because a negative there costs nothing.
    """
    shape = ops.shape(distances)
    same, other = (
        ops.broadcast_to(ops.cast(m, "float32")[None], shape)
        for m in (batch.same, batch.other)
    )
    # Sums of numbers around 0 round less.
    centre = ops.mean(distances, axis=-1, keepdims=True)
    distances = distances - ops.stop_gradient(centre)
    order = ops.argsort(ops.cast(other, "int32"), axis=-1)
    places = ops.take_along_axis(distances + margin * same, order, axis=-1)
    order = ops.take_along_axis(order, ops.argsort(places, axis=-1), axis=-1)
    same, other, distances = (
        ops.take_along_axis(x, order, axis=-1) for x in (same, other, distances)
    )
    within = same * ops.cumsum(other, axis=-1)
    closer = ops.cumsum(other * distances, axis=-1)
    costs = within * (distances + margin) - same * closer
    active = ops.stop_gradient(ops.sum(within, axis=-1))
    return batch.share(ops.sum(costs, axis=-1), batch.total(active))


def _every_softplus(batch: Pairs, distances: Any) -> Any:
    """Return each anchor's share, `(j, b)`, of the mean over all triplets."""
    same, other = (ops.cast(m, "float32") for m in (batch.same, batch.other))
    triplets = ops.sum(same, axis=-1) * ops.sum(other, axis=-1)
    summed = _sum_of_softplus(distances, same, other)
    return batch.share(summed, batch.total(ops.stop_gradient(triplets)))


def _sum_of_softplus(distances: Any, same: Any, other: Any) -> Any:
    """Sum softplus(D(a, p) - D(a, n)) over the triplets of each anchor, `(j, b)`.

    The loop takes one positive of every anchor at a time and computes the derivatives
    too, since no backend can differentiate a loop whose length depends on the labels.
    There is no tensor of all triplets.
    """
    columns = ops.arange(ops.shape(distances)[-1], dtype="int32")
    order = ops.cast(ops.argsort(-same, axis=-1), "int32")  # positives first
    most = ops.cast(ops.max(ops.sum(same, axis=-1)), "int32")

    @ops.custom_gradient
    def summed(distances: Any) -> Any:
        def add(number: Any, value: Any, slope: Any) -> Any:
            column = ops.take(order, number, axis=-1)[:, None]  # (b, 1)
            own = ops.cast(columns == column, "float32")  # (b, B)
            positive = ops.sum(own * distances, axis=-1, keepdims=True)
            weight = ops.sum(own * same, axis=-1, keepdims=True) * other
            excess = positive - distances
            pull = weight * ops.sigmoid(excess)  # (j, b, B)
            slope = slope + own * ops.sum(pull, axis=-1, keepdims=True) - pull
            value = value + ops.sum(weight * ops.softplus(excess), axis=-1)
            return number + 1, value, slope

        nothing = ops.zeros_like(distances)
        begin = (0, ops.sum(nothing, axis=-1), nothing)
        loop = ops.while_loop(lambda number, *_: number < most, add, begin)
        _, value, slope = loop

        def gradient(*given: Any, upstream: Any = None) -> Any:
            (upstream,) = given if upstream is None else (upstream,)
            return upstream[..., None] * slope

        return value, gradient

    return summed(distances)


def _weighted(batch: Pairs, distances: Any, cost: Any) -> Any:
    """Return each anchor's share, `(j, b)`, of the mean over positive pairs."""
    same, shares = ops.cast(batch.same, "float32"), negative_shares(batch)
    costs = cost(distances[..., None], distances[..., None, :])  # (j, b, B, B)
    summed = ops.einsum("bp,jbn,jbpn->jb", same, shares, costs)
    return batch.share(summed, batch.count(batch.same))


def _nearest(marked: Any, distances: Any) -> Any:
    """Return the least of the marked distances over the last axis."""
    return -largest_marked(-distances, marked)


@keras.saving.register_keras_serializable(package="deml_tf")
class Triplet(PairLoss):
    """Triplet loss as a Keras loss; see `triplet` for the formula and the samplings.

    The defaults are those of `TripletSemiHardLoss` in TensorFlow Addons, whose users
    normalise the embeddings themselves.

    Args:
        margin: Distance of unit vectors by which a negative should be farther away than
            a positive, at least 0: a squared distance if `squared`, not used if `soft`.
        sampling: Triplets of the loss: "semi_hard", each positive with the nearest
            negative beyond it, or else the farthest; "hard", each anchor with its
            farthest positive and nearest negative; "easy_positive", each anchor with
            its nearest positive and a negative as in "semi_hard"; "distance_weighted",
            each positive with all negatives, weighted by distance; "all", every
            triplet.
        soft: Whether the cost is the softplus of the difference of distances instead of
            its hinge with a margin.
        squared: Whether the distances are squared.
        pairs: "global", or "replica" for triplets within each replica alone.
        reduction: As in `keras.losses.Loss`; "sum_over_batch_size" is the formula.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(triplet)

    def __init__(
        self,
        margin: float = 1.0,
        sampling: Literal[
            "semi_hard", "hard", "easy_positive", "distance_weighted", "all"
        ] = "semi_hard",
        soft: bool = False,
        squared: bool = False,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "triplet",
        dtype: Any = None,
    ):
        super().__init__(
            pairs,
            reduction,
            name,
            dtype,
            margin=margin,
            sampling=sampling,
            soft=soft,
            squared=squared,
        )
        check_not_negative(margin=margin)
        check_one_of(SAMPLINGS, sampling=sampling)
