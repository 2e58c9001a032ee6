"""Neighbourhood components among proxies, revised: ProxyNCA++."""

from typing import Any

import keras

from deml_tf.losses.class_weights import ClassWeights, classes_of
from deml_tf.losses.pair_loss import check_above_zero


def proxy_nca_pp(
    labels: Any, embeddings: Any, weights: Any, *, temperature: float = 1 / 9
) -> Any:
    """Return each image's loss in the softmax over its nearness to all proxies.

    The mean over the learners of the following, with d_c the squared Euclidean distance
    of the unit vectors of the image and of the proxy of class c:

        -log( exp(-d_y / temperature) / sum_c exp(-d_c / temperature) )

    Teh, DeVries & Taylor (ECCV 2020): unlike in `proxy_nca` the sum is over all
    classes, so that the loss is minus the logarithm of a probability. Of the paper's
    further changes, balanced batches are `classes_per_batch` and `images_per_class`,
    and fast proxies are `rate_multiplier`; global max pooling and layer norm belong to
    the network.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        weights: The proxies, `(n, d)` or `(j, n, d)`, of any length.
        temperature: Divides the squared distances, above 0; the paper's is 1/9.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    classes = classes_of(labels, embeddings, weights)
    return classes.cross_entropy(-classes.squared_distances() / temperature)


@keras.saving.register_keras_serializable(package="deml_tf")
class ProxyNCAPP(ClassWeights):
    """ProxyNCA++ as a Keras layer; see `proxy_nca_pp` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        temperature: Divisor of the squared distances, above 0.
        rate_multiplier: Factor on the learning rate of the proxies. The release has
            100,000 with an Adam whose epsilon is 1; with the usual epsilon, where the
            size of the gradients hardly matters, the default is Proxy-Anchor's.
        l2: L2 penalty on the proxies, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(proxy_nca_pp)

    def __init__(
        self,
        num_classes: int,
        temperature: float = 1 / 9,
        rate_multiplier: float = 100.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"temperature": temperature}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        check_above_zero(temperature=temperature)
