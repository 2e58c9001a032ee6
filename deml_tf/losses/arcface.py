"""Softmax over cosines with a margin on the angle: ArcFace."""

import math
from typing import Any

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.class_weights import ClassWeights, classes_of
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pair_loss import check_above_zero
from deml_tf.losses.pairs import safe_sqrt, unit_vectors


def arcface(
    labels: Any,
    embeddings: Any,
    weights: Any,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
) -> Any:
    """Return each image's loss in a softmax that widens the angle to its own class.

    The mean over the learners of the following, with t_c the angle to the weights of
    class c:

        -log( exp(scale * m(t_y))
              / (exp(scale * m(t_y)) + sum_{other c} exp(scale * cos(t_c))) )

        m(t) = cos(t + margin),                    if t <= pi - margin
        m(t) = cos(t) - margin * sin(margin)       beyond, where the cosine would rise

    Deng et al. (CVPR 2019) with their constants; the second line is that of their
    release where its "easy margin" is off. Where an image and its class's weights point
    the same way, the angle has no slope and gives no gradient.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        weights: One vector for each class, `(n, d)`, or `(j, n, d)` for several
            learners; of any length.
        margin: Added to the angle to the own class, in radians, in [0, pi / 2].
        scale: Factor on the cosines, above 0.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    classes = classes_of(labels, embeddings, weights)
    cosines, own = classes.cosines(), classes.own
    cosine = ops.sum(own * cosines, axis=-1)  # (j, b)
    # From sum and difference: 1 - cosine^2 loses digits where the cosine is near 1.
    rows, centres = unit_vectors(classes.rows), unit_vectors(classes.weights)
    centres = ops.einsum("bn,jnd->bjd", own, centres)
    squared = (
        ops.sum(ops.square(x), axis=-1) for x in (rows - centres, rows + centres)
    )
    sine = ops.transpose(math.prod(map(safe_sqrt, squared), start=0.5))
    wider = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine < -math.cos(margin)  # NaN stays NaN
    wider = ops.where(beyond, cosine - margin * math.sin(margin), wider)
    logits = own * wider[..., None] + (1 - own) * cosines
    return classes.cross_entropy(scale * logits)


@keras.saving.register_keras_serializable(package="deml_tf")
class ArcFace(ClassWeights):
    """ArcFace as a Keras layer; see `arcface` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        margin: Angle added to the angle between an image and its own class, in radians,
            in [0, pi / 2].
        scale: Factor on the cosines in the softmax, above 0.
        rate_multiplier: Factor on the learning rate of the classes' weights; the paper
            has no such factor.
        l2: L2 penalty on the classes' weights, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(arcface)

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        rate_multiplier: float = 1.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"margin": margin, "scale": scale}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        check_above_zero(scale=scale)
        if not 0 <= margin <= math.pi / 2:
            raise UsageError(
                f"margin={margin}: it must be an angle in [0, pi / 2], in radians."
            )
