"""Normalised softmax: classification by sharpened cosines."""

from typing import Any

import keras

from deml_tf.losses.class_weights import ClassWeights, classes_of
from deml_tf.losses.pair_loss import check_above_zero


def normalised_softmax(
    labels: Any, embeddings: Any, weights: Any, *, temperature: float = 0.05
) -> Any:
    """Return each image's loss in the softmax over its cosines to all classes.

    The mean over the learners of the following, with s_c the cosine to the weights of
    class c:

        -log( exp(s_y / temperature) / sum_c exp(s_c / temperature) )

    Zhai & Wu (BMVC 2019), whose layer norm, dropout and balanced batches are not part
    of the loss. An embedding of zeros costs log n and has no gradient.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        weights: One vector for each class, `(n, d)`, or `(j, n, d)` for several
            learners; of any length.
        temperature: Divides the cosines, above 0.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    classes = classes_of(labels, embeddings, weights)
    return classes.cross_entropy(classes.cosines() / temperature)


@keras.saving.register_keras_serializable(package="deml_tf")
class NormalisedSoftmax(ClassWeights):
    """Normalised softmax as a Keras layer; see `normalised_softmax` for the formula.

    Call it on labels and embeddings: it returns one value per image and adds their mean
    to the model's losses. Only `deml_tf.train` reads `rate_multiplier` and `l2`;
    elsewhere give both to the optimizer by the layer's name:
    `GroupedAdam(multipliers=..., own_l2=...)`.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        temperature: Divisor of the cosines in the softmax, above 0.
        rate_multiplier: Factor on the learning rate of the classes' weights.
        l2: L2 penalty on the classes' weights, added to their gradients.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(normalised_softmax)

    def __init__(
        self,
        num_classes: int,
        temperature: float = 0.05,
        rate_multiplier: float = 1.0,
        l2: float = 0.0,
        **kwargs: Any,
    ):
        arguments = {"temperature": temperature}
        super().__init__(num_classes, rate_multiplier, l2, arguments, **kwargs)
        check_above_zero(temperature=temperature)
