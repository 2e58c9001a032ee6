"""Proxies as anchors of all images of a batch: Proxy-Anchor."""

from typing import Any

import keras

from deml_tf.losses.class_weights import ClassWeights, classes_of
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import check_above_zero, check_cosine, check_one_of
from deml_tf.losses.pairs import PAIRS
from deml_tf.losses.replicas import gather_rows, sum_over_replicas


def proxy_anchor(
    labels: Any,
    embeddings: Any,
    weights: Any,
    *,
    margin: float = 0.1,
    alpha: float = 32.0,
    pairs: str = "global",
) -> Any:
    """Return the Proxy-Anchor loss of the batch, once for each image.

    The mean over the learners of the following, with s the cosine of an image x and a
    proxy p:

        (1/|P+|) sum_{p in P+} log(1 + sum_{x of p's class} exp(-alpha * (s - margin)))
      + (1/|P|)  sum_{p in P}  log(1 + sum_{other x} exp(alpha * (s + margin)))

    where P are all proxies and P+ those with an image in the batch. Kim et al. (CVPR
    2020), with their constants. Each image is given the whole loss, whose terms belong
    to proxies and not to images.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        weights: The proxies, `(n, d)` or `(j, n, d)`, of any length.
        margin: Added to and taken from the cosines, in [-1, 1].
        alpha: Slope, above 0.
        pairs: Under several replicas, "global" for the images of all replicas, or
            "replica" for those of each alone, whose losses the replicas then average.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes or `pairs` are not those above.
    """
    check_one_of(PAIRS, pairs=pairs)
    is_global = pairs == "global"
    classes = classes_of(labels, embeddings, weights)
    cosines, own = classes.cosines(), classes.own
    images = ops.sum(own, axis=0)  # (n,), of each class
    images = sum_over_replicas(images) if is_global else images
    present = ops.cast(images > 0, "float32")
    pull = _log_one_plus_sum(-alpha * (cosines - margin), own, is_global)  # (j, n)
    push = _log_one_plus_sum(alpha * (cosines + margin), 1 - own, is_global)
    loss = ops.sum(present * pull, axis=-1) / ops.sum(present) + ops.mean(push, axis=-1)
    return ops.ones_like(own[:, 0]) * ops.mean(loss)


def _log_one_plus_sum(exponents: Any, weights: Any, is_global: bool) -> Any:
    """Return log(1 + sum of weight * exp(exponent)) over the images, (j, n).

    Args:
        exponents: `(j, b, n)`.
        weights: `(b, n)`, 0 or 1.
        is_global: Whether the images are those of all replicas.
    """
    # The exponent of the 1 is 0: that of what does not count may be 0 too.
    counted = ops.where(weights > 0, exponents, ops.zeros_like(exponents))
    largest = ops.relu(ops.max(ops.stop_gradient(counted), axis=1))
    if is_global:
        largest = ops.max(gather_rows(largest[None]), axis=0)
    summed = ops.sum(weights * ops.exp(counted - largest[:, None]), axis=1)
    summed = sum_over_replicas(summed) if is_global else summed
    return largest + ops.log(ops.exp(-largest) + summed)


@keras.saving.register_keras_serializable(package="deml_tf")
class ProxyAnchor(ClassWeights):
    """Proxy-Anchor as a Keras layer; see `proxy_anchor` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        margin: Margin in cosine, in [-1, 1]: subtracted from an image's cosine to the
            proxy of its own class, and added to its cosines to the others.
        alpha: Slope of the exponents, above 0.
        pairs: "global", or "replica" for the images of each replica alone.
        rate_multiplier: Factor on the learning rate of the proxies; the default is the
            paper's.
        l2: L2 penalty on the proxies, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(proxy_anchor)

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.1,
        alpha: float = 32.0,
        pairs: str = "global",
        rate_multiplier: float = 100.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"margin": margin, "alpha": alpha, "pairs": pairs}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        check_cosine(margin=margin)
        check_above_zero(alpha=alpha)
        check_one_of(PAIRS, pairs=pairs)
