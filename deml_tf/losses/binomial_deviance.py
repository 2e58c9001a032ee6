"""Binomial deviance over the pairs of a batch: the metric loss."""

import math
from typing import Any, ClassVar

import keras
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.losses.pairs import (
    class_masks,
    cosine_similarities,
    first_row,
    gather_rows,
    pair_counts,
)

PAIRS = ("global", "replica")
_ROUNDED_FROM = {"float64": 2**53, "float32": 2**24, "float16": 2**11, "bfloat16": 2**8}


def binomial_deviance(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 0.5,
    cost_positive: float = 1.0,
    cost_negative: float = 35.0,
    pairs: str = "global",
) -> tf.Tensor:
    """Return each anchor's share of the binomial deviance of the batch.

    The mean over the learners of, over unordered pairs p < q with s = cosine,

        (1/N+) sum_{same class}  log(1 + exp(-alpha * cost_positive * (s - beta)))
      + (1/N-) sum_{other class} log(1 + exp( alpha * cost_negative * (s - beta)))

    Chen & Deng (CVPR 2019) take it as their metric loss; constants from the authors'
    release. A batch without pairs of one kind contributes 0 for that kind.

    Under a strategy of several replicas, call it in the replica context: rows are
    the replica's own, columns and counts are of all replicas. The mean over all rows
    is then the formula on the global batch, and so are the gradients once each
    replica's mean has been divided by the number of replicas, as Keras losses do.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised inside, in float32.
        alpha: Slope, above 0.
        beta: Cosine at which both kinds of pair cost log 2.
        cost_positive: Weight of pairs of one class in the exponent, above 0.
        cost_negative: Weight of pairs of two classes in the exponent, above 0.
            The released U512 has 25.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone (the release), whose
            losses the replicas then average.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.

    Departure from the release: it logs another number, whose gradient it does not
    use; this is the function whose gradient it follows.
    """
    labels = _class_numbers(labels)
    # Float32 here already, for the gather's gradient is a sum over replicas.
    embeddings = tf.cast(_by_learner(embeddings), tf.float32)  # (b, j, d)

    if pairs == "global":
        columns = gather_rows(embeddings)  # (B, j, d)
        column_labels = gather_rows(labels)  # (B,)
        first = first_row(labels, column_labels)
    else:
        columns, column_labels, first = embeddings, labels, 0
    same, other = class_masks(labels, column_labels, first)  # (b, B)
    positives, negatives = pair_counts(column_labels)
    weight = tf.math.divide_no_nan(tf.cast(same, tf.float32), positives)
    weight += tf.math.divide_no_nan(tf.cast(other, tf.float32), negatives)
    slope = tf.where(same, -alpha * cost_positive, alpha * cost_negative)

    similarity = cosine_similarities(embeddings, columns)  # (j, b, B)
    # softplus(x) = log(1 + exp(x)) without overflow.
    deviance = weight * tf.math.softplus(slope * (similarity - beta))
    anchors = tf.reduce_sum(tf.reduce_mean(deviance, axis=0), axis=-1)  # (b,)
    # Each unordered pair stands in two rows; the mean over the batch divides by B.
    return anchors * tf.cast(tf.shape(column_labels)[0], tf.float32) / 2


@keras.saving.register_keras_serializable(package="deml_tf")
class BinomialDeviance(keras.losses.Loss):
    """Binomial deviance as a Keras loss; see `binomial_deviance` for the formula.

    Args:
        alpha: Slope, above 0.
        beta: Cosine at which both kinds of pair cost log 2, in [-1, 1].
        cost_positive: Weight of pairs of one class in the exponent, above 0.
        cost_negative: Weight of pairs of two classes in the exponent, above 0:
            35 for the released DeML on CUB-200-2011, 25 for its U512.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`. "sum_over_batch_size", the default, is
            the formula; under several replicas Keras has then divided it by their
            number already.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: of the embeddings it is given and of the sum.

    Raises:
        UsageError: If a constant is out of its range.

    Labels stay the numbers they are, whatever Keras's `floatx` is.
    """

    # Arguments of the release's U512, the baseline of one scale and one learner.
    BASELINE: ClassVar[dict[str, float]] = {"cost_negative": 25.0}

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
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._given = {"dtype": self.dtype} if dtype else {}
        constants = {
            "alpha": alpha,
            "cost_positive": cost_positive,
            "cost_negative": cost_negative,
        }
        for constant, value in constants.items():
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{constant}={value}: it must be a number above 0.")
        if not -1 <= beta <= 1:
            raise UsageError(
                f"beta={beta}: it must be in [-1, 1], for cosines are compared with it."
            )
        self.alpha = alpha
        self.beta = beta
        self.cost_positive = cost_positive
        self.cost_negative = cost_negative
        if pairs not in PAIRS:
            raise UsageError(f"pairs={pairs!r}: use one of {', '.join(PAIRS)}.")
        self.pairs = pairs

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss, as every loss of Keras does.

        Args:
            y_true: Labels, which Keras itself would make floats of: large class
                numbers would merge.
            y_pred: Embeddings.
            sample_weight: A factor on each anchor; None, the default, is 1.
        """
        return _Labelled(self, y_true)((), y_pred, sample_weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return one value for each anchor, `(b,)`."""
        return binomial_deviance(
            y_true,
            y_pred,
            alpha=self.alpha,
            beta=self.beta,
            cost_positive=self.cost_positive,
            cost_negative=self.cost_negative,
            pairs=self.pairs,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "alpha": self.alpha,
            "beta": self.beta,
            "cost_positive": self.cost_positive,
            "cost_negative": self.cost_negative,
            "pairs": self.pairs,
            "reduction": self.reduction,
            "name": self.name,
        } | self._given


class _Labelled(keras.losses.Loss):
    """A loss together with its labels, which Keras does not see."""

    def __init__(self, loss: keras.losses.Loss, labels: Any):
        super().__init__(loss.name, loss.reduction, loss.dtype)
        self.loss, self.labels = loss, labels

    def call(self, y_true: Any, y_pred: tf.Tensor) -> tf.Tensor:
        """Return one value for each anchor, `(b,)`."""
        return self.loss.call(self.labels, y_pred)


def _class_numbers(labels: tf.Tensor) -> tf.Tensor:
    """Flatten labels to `(b,)`: int64, or float64 if they came as floats."""
    labels = tf.convert_to_tensor(labels)
    if labels.dtype == tf.string:
        raise UsageError("BinomialDeviance: labels are strings; give class numbers.")
    rank = labels.shape.rank
    if rank not in (1, 2) or (rank == 2 and labels.shape[1] != 1):
        raise UsageError(
            f"BinomialDeviance: labels have shape {labels.shape}; give one class "
            "number an image, (b,), not one-hot rows."
        )
    labels = tf.reshape(labels, [-1])
    if not labels.dtype.is_floating:
        return tf.cast(labels, tf.int64)
    # Such a type has rounded whole numbers from here on, and classes have merged.
    limit = _ROUNDED_FROM[labels.dtype.name]
    labels = tf.cast(labels, tf.float64)
    merged = f"BinomialDeviance: labels are floats beyond {limit}; give integers."
    is_exact = tf.reduce_all(tf.abs(labels) < limit)
    with tf.control_dependencies([tf.debugging.Assert(is_exact, [merged])]):
        return tf.identity(labels)


def _by_learner(embeddings: tf.Tensor) -> tf.Tensor:
    """Give embeddings a learner axis, `(b, j, d)`."""
    embeddings = tf.convert_to_tensor(embeddings)
    if embeddings.shape.rank not in (2, 3):
        raise UsageError(
            f"BinomialDeviance: embeddings have shape {embeddings.shape}; "
            "give (b, d) or (b, j, d)."
        )
    return embeddings[:, None] if embeddings.shape.rank == 2 else embeddings
