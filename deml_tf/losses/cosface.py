"""Softmax over cosines with a margin on the cosine: CosFace."""

from typing import Any

import keras

from deml_tf.losses.class_weights import ClassWeights, classes_of
from deml_tf.losses.pair_loss import check_above_zero, check_not_negative


def cosface(
    labels: Any,
    embeddings: Any,
    weights: Any,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
) -> Any:
    """Return each image's loss in a softmax that lowers the cosine to its own class.

    The mean over the learners of the following, with s_c the cosine to the weights of
    class c:

        -log( exp(scale * (s_y - margin))
              / (exp(scale * (s_y - margin)) + sum_{other c} exp(scale * s_c)) )

    Wang et al. (CVPR 2018), with their constants.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        weights: One vector for each class, `(n, d)`, or `(j, n, d)` for several
            learners; of any length.
        margin: Taken from the cosine to the own class, at least 0.
        scale: Factor on the cosines, above 0.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    classes = classes_of(labels, embeddings, weights)
    return classes.cross_entropy(scale * (classes.cosines() - margin * classes.own))


@keras.saving.register_keras_serializable(package="deml_tf")
class CosFace(ClassWeights):
    """CosFace as a Keras layer; see `cosface` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        margin: Amount subtracted from the cosine of an image to its own class, at least
            0.
        scale: Factor on the cosines in the softmax, above 0.
        rate_multiplier: Factor on the learning rate of the classes' weights; the paper
            has no such factor.
        l2: L2 penalty on the classes' weights, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(cosface)

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.35,
        scale: float = 64.0,
        rate_multiplier: float = 1.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"margin": margin, "scale": scale}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        check_not_negative(margin=margin)
        check_above_zero(scale=scale)
