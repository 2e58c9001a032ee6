"""Margin loss with a learned boundary between near and far."""

from typing import Any, Literal

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.class_weights import ClassWeights
from deml_tf.losses.distance_weighted import negative_shares
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import check_above_zero, check_not_negative, check_one_of
from deml_tf.losses.pairs import PAIRS, Pairs, pairs_of

SAMPLINGS = ("distance_weighted", "all")


def margin(
    labels: Any,
    embeddings: Any,
    boundaries: Any,
    *,
    margin: float = 0.2,
    sampling: str = "distance_weighted",
    nu: float = 0.0,
    pairs: str = "global",
) -> Any:
    """Return each anchor's share of the margin loss of the batch.

    The mean over the learners of the following, over ordered pairs (a, p) of one class,
    each with one negative n drawn for the anchor, and with D the distance of the unit
    vectors:

        1/C sum ( max(0, margin + D(a, p) - beta_a) + max(0, margin - D(a, n) + beta_a)
                  + nu * beta_a )

    where C is the number of hinges that are not 0, and beta_a the boundary of the
    anchor's class, or that of all classes. Wu, Manmatha, Smola & Krahenbuhl (ICCV
    2017). The negatives' terms and C are expectations over the draws: there are no
    random numbers. An anchor without a positive or without a negative contributes 0.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n of any type. Any other
            number makes its image's loss NaN, unless there is one boundary for all.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        boundaries: `(j, n)`, beta of each class, or `(j, 1)`, one for all classes.
        margin: Distance on either side of the boundary, at least 0.
        sampling: "distance_weighted", the paper's, see `negative_shares`; or "all",
            every negative with the same weight.
        nu: Weight of the boundaries themselves, at least 0.
        pairs: Under several replicas, "global" for the images of the whole batch, or
            "replica" for those of one replica alone.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs)
    beta = _boundary_of_each(batch, boundaries)  # (j, b, 1)
    distances = batch.distances()  # (j, b, B)
    is_compared = ops.any(batch.other, axis=-1, keepdims=True)  # (b, 1)
    same = ops.cast(ops.logical_and(batch.same, is_compared), "float32")
    drawn = negative_shares(batch) if sampling == "distance_weighted" else None
    if drawn is None:
        other = ops.cast(batch.other, "float32")
        drawn = ops.divide_no_nan(other, ops.sum(other, axis=-1, keepdims=True))
    positives = ops.sum(same, axis=-1, keepdims=True)  # (b, 1), and negatives drawn
    total = positives[:, 0] * nu * beta[..., 0]
    active = ops.zeros_like(total)
    for weights, excess in (
        (same, margin + distances - beta),
        (positives * drawn, margin - distances + beta),
    ):
        costs = ops.relu(excess)
        total += ops.sum(weights * costs, axis=-1)
        active += ops.sum(weights * ops.cast(costs > 0, "float32"), axis=-1)
    count = ops.stop_gradient(batch.total(active))  # (j,)
    return ops.mean(batch.share(total, count), axis=0)


def _boundary_of_each(batch: Pairs, boundaries: Any) -> Any:
    """Return each row's boundary, `(j, b, 1)`."""
    boundaries = ops.cast(ops.convert_to_tensor(boundaries), "float32")
    learners, classes = boundaries.shape
    if learners != batch.rows.shape[1]:
        raise UsageError(
            f"boundaries have shape {tuple(boundaries.shape)}, but embeddings "
            f"{tuple(batch.rows.shape)}: give learners alike, (j, n) and (b, j, d)."
        )
    if classes == 1:
        return boundaries[..., None] + ops.zeros_like(batch.rows[None, :, 0, :1])
    every = ops.arange(classes, dtype=batch.labels.dtype)
    own = ops.cast(ops.expand_dims(batch.labels, 1) == every, "float32")  # (b, n)
    known = ops.sum(own, axis=1)
    # Without a Python branch, which a graph cannot have: 1, or 0 / 0.
    return (ops.einsum("jn,bn->jb", boundaries, own) * (known / known))[..., None]


@keras.saving.register_keras_serializable(package="deml_tf")
class Margin(ClassWeights):
    """Margin loss as a Keras layer; see `margin` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        margin: Margin on either side of the boundary, as a distance of unit vectors, at
            least 0.
        beta: Initial boundary, a distance of unit vectors, above 0.
        per_class: Whether each class learns a boundary of its own.
        sampling: Weights of an anchor's negatives: "distance_weighted", the probability
            of drawing each by its distance, as in the paper; "all", equal weights.
        nu: Weight of the boundaries in the loss, at least 0.
        pairs: "global", or "replica" for images of each replica alone.
        rate_multiplier: Factor on the learning rate of the boundaries. In the release a
            second optimizer trains them, at a learning rate of 0.1.
        l2: L2 penalty on the boundaries, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(margin)

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.2,
        beta: float = 1.2,
        per_class: bool = False,
        sampling: Literal["distance_weighted", "all"] = "distance_weighted",
        nu: float = 0.0,
        pairs: str = "global",
        rate_multiplier: float = 10.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"margin": margin, "sampling": sampling, "nu": nu, "pairs": pairs}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        self.beta, self.per_class = beta, per_class
        check_not_negative(margin=margin, nu=nu)
        check_above_zero(beta=beta)
        check_one_of(SAMPLINGS, sampling=sampling)
        check_one_of(PAIRS, pairs=pairs)

    def build(self, labels_shape: Any, embeddings_shape: Any) -> None:
        """Make the boundaries, all initially `beta`.

        Args:
            labels_shape: Not used.
            embeddings_shape: `(b, d)` or `(b, j, d)`.
        """
        learners = embeddings_shape[1] if len(embeddings_shape) == 3 else 1
        self.class_weights = self.add_weight(
            name="boundaries",
            shape=(learners, self.num_classes if self.per_class else 1),
            initializer=keras.initializers.Constant(self.beta),
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"beta": self.beta, "per_class": self.per_class}
        return {**super().get_config(), **own}
