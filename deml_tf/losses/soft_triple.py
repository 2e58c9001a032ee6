"""Softmax over classes of several centres each: SoftTriple."""

from typing import Any

import keras

from deml_tf.losses.class_weights import ClassWeights, classes_of
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import check_above_zero, check_not_negative
from deml_tf.losses.pairs import safe_sqrt, unit_vectors


def soft_triple(
    labels: Any,
    embeddings: Any,
    weights: Any,
    *,
    scale: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
    tau: float = 0.2,
) -> Any:
    """Return each image's loss in a softmax over classes of several centres.

    The mean over the learners of the following, with s_ck the cosine to centre k of
    class c:

        s_c = sum_k softmax_k(s_ck / gamma) * s_ck

        -log( exp(scale * (s_y - margin))
              / (exp(scale * (s_y - margin)) + sum_{other c} exp(scale * s_c)) )
      + tau / (n * K * (K - 1)) * sum_c sum_{k < l} |w_ck - w_cl|

    where w are the centres as unit vectors: the last line lets centres that are not
    needed merge. Qian et al. (ICCV 2019), with the constants of their release (lambda
    there is `scale`). With one centre per class the last line is 0, and the loss is
    that of `cosface`.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        weights: The centres, `(n, K, d)` or `(j, n, K, d)`, of any length.
        scale: Factor on the cosines, above 0.
        gamma: Temperature of the choice among a class's centres, above 0.
        margin: Taken from the cosine to the own class, at least 0.
        tau: Weight of the distances between a class's centres, at least 0.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.

    Departure from the release, which adds 1e-5 under the root of those distances: here
    equal centres have no gradient from one another.
    """
    weights = ops.convert_to_tensor(weights)
    weights = weights[None] if len(weights.shape) == 3 else weights
    classes = classes_of(labels, embeddings, weights)
    centres = unit_vectors(classes.weights)  # (j, n, k, d)
    cosines = ops.einsum("bjd,jnkd->jbnk", unit_vectors(classes.rows), centres)
    chosen = ops.softmax(cosines / gamma, axis=-1)
    cosines = ops.sum(chosen * cosines, axis=-1)  # (j, b, n)
    costs = classes.cross_entropy(scale * (cosines - margin * classes.own))
    count = centres.shape[2]
    if count == 1 or tau == 0:
        return costs
    dots = ops.einsum("jnkd,jnld->jnkl", centres, centres)
    lengths = ops.sum(ops.square(centres), axis=-1)
    lengths = lengths[..., :, None] + lengths[..., None, :]
    # A centre and itself are not a pair, though rounding may separate them.
    pairs = 1 - ops.eye(count, dtype="float32")
    apart = safe_sqrt(ops.relu(lengths - 2 * dots) * pairs)
    # Each pair appears twice.
    return costs + tau / 2 * ops.mean(apart) * count / (count - 1)


@keras.saving.register_keras_serializable(package="deml_tf")
class SoftTriple(ClassWeights):
    """SoftTriple as a Keras layer; see `soft_triple` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        centres: Number of centres of each class, at least 1.
        scale: Factor on the cosines in the softmax, above 0.
        gamma: Temperature of the softmax over a class's centres, above 0; the lower,
            the more the most similar centre counts.
        margin: Amount subtracted from the cosine of an image to its own class, at least
            0.
        tau: Weight of the term that draws a class's centres together, at least 0.
        rate_multiplier: Factor on the learning rate of the centres. The default is the
            release's, whose Adam has an epsilon of 0.01.
        l2: L2 penalty on the centres, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(soft_triple)

    def __init__(
        self,
        num_classes: int,
        centres: int = 10,
        scale: float = 20.0,
        gamma: float = 0.1,
        margin: float = 0.01,
        tau: float = 0.2,
        rate_multiplier: float = 100.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"scale": scale, "gamma": gamma, "margin": margin, "tau": tau}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        self.centres = centres
        check_above_zero(centres=centres, scale=scale, gamma=gamma)
        check_not_negative(margin=margin, tau=tau)

    def weights_shape(self, learners: int, d: int) -> tuple[int, ...]:
        """Return `(j, n, centres, d)`."""
        return learners, self.num_classes, self.centres, d

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "centres": self.centres}
