"""Confusion of classes that trains the embedding matrix alone."""

from typing import Any

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pairs import pairs_of
from deml_tf.losses.replicas import gather_rows

# The release's weight on Cars196 beside binomial deviance; `energy_confusion` does not
# apply it.
ENERGY_CONFUSION_WEIGHT = 0.13
ROUNDING = 1e-12  # squared rounding error of float32, as a share of squared lengths


def energy_confusion(
    labels: Any, pooled: Any, kernel: Any, *, pairs: str = "global"
) -> Any:
    """Return how far apart images of different classes lie, as a loss to minimise.

    log( mean over pairs of images p, q of two classes of ||W x_p - W x_q||^2 / 2 )

    with the gradient of x stopped. Chen & Deng (AAAI 2019, ECAML) add it to a metric
    loss, against which it works, so that the embedding relies less on what separates
    only the training classes. The logarithm, whose gradient the release follows, and
    the stopped gradient are from their release.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        pooled: `(b, c)`, pooled features x, any floating type.
        kernel: `(c, d)`, the embedding matrix as Keras keeps it, W transposed.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone.

    Returns:
        `(b,)`, float32, the same for each image, without the factor
        `ENERGY_CONFUSION_WEIGHT`; 0 for a batch of one class, or of images that are all
        alike.

    Raises:
        UsageError: If the labels or `pairs` are not those above.

    Departure from the release, which draws ten images of other classes for each: this
    is the expectation over such draws.
    """
    pooled = ops.stop_gradient(ops.cast(pooled, "float32"))
    embeddings = ops.matmul(pooled, ops.cast(kernel, "float32"))  # (b, d)
    lengths = ops.sum(ops.square(embeddings), axis=-1)
    # Distances do not depend on the mean, and subtracting it saves digits.
    rows = gather_rows(embeddings) if pairs == "global" else embeddings
    embeddings -= ops.stop_gradient(ops.mean(rows, axis=0))
    batch = pairs_of(labels, embeddings, pairs)
    other = ops.cast(batch.other, "float32")
    squared = batch.squared_distances(normalise=False)[0]  # (b, B)
    summed = batch.total(ops.sum(other * squared, axis=-1))
    energy = ops.divide_no_nan(summed, 2 * batch.count(batch.other))
    mean_length = batch.total(lengths) / batch.total(ops.ones_like(lengths))
    is_none = energy <= ROUNDING * mean_length  # NaN stays NaN
    logarithm = ops.log(ops.where(is_none, ops.ones_like(energy), energy))
    logarithm = ops.where(is_none, ops.zeros_like(logarithm), logarithm)
    return logarithm * ops.ones_like(pooled[:, 0])
