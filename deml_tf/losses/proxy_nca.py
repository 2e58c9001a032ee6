"""Neighbourhood components among proxies: Proxy-NCA."""

from typing import Any

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.class_weights import ClassWeights, classes_of
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.marked import FAR
from deml_tf.losses.pair_loss import check_above_zero


def proxy_nca(labels: Any, embeddings: Any, weights: Any, *, scale: float = 1.0) -> Any:
    """Return each image's loss against the proxies of all other classes.

    The mean over the learners of the following, with d_c the squared Euclidean distance
    of the unit vectors of the image and of the proxy of class c:

        -log( exp(-scale * d_y) / sum_{c other than y} exp(-scale * d_c) )

    Movshovitz-Attias et al. (ICCV 2017); the image's own class is not in the sum, so
    that the loss can be below 0. `proxy_nca_pp` has it in the sum.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        weights: The proxies, `(n, d)` or `(j, n, d)`, of any length; n at least 2.
        scale: Factor on the squared distances, above 0; the paper has none.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above, or n is 1.
    """
    classes = classes_of(labels, embeddings, weights)
    if classes.own.shape[1] < 2:
        raise UsageError("num_classes=1: there is no other proxy; give 2 or more.")
    near = -scale * classes.squared_distances()  # (j, b, n)
    own = classes.own
    # A large number, and not infinity, whose gradient would be NaN.
    others = ops.logsumexp(near - FAR * own, axis=-1)
    return ops.mean(others - ops.sum(own * near, axis=-1), axis=0)


@keras.saving.register_keras_serializable(package="deml_tf")
class ProxyNCA(ClassWeights):
    """Proxy-NCA as a Keras layer; see `proxy_nca` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Training classes, at least 2; `deml_tf.train` fills the number in.
        scale: Factor on the squared distances, above 0.
        rate_multiplier: Factor on the learning rate of the proxies; the paper has no
            such factor.
        l2: L2 penalty on the proxies, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(proxy_nca)

    def __init__(
        self,
        num_classes: int,
        scale: float = 1.0,
        rate_multiplier: float = 1.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"scale": scale}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        check_above_zero(scale=scale)
