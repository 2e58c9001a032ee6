"""Losses with weights of their own for each class: images against classes."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.class_numbers import class_numbers
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.loss_layer import LossLayer
from deml_tf.losses.pair_loss import check_above_zero, check_not_negative
from deml_tf.losses.pairs import by_learner, unit_vectors


@dataclasses.dataclass(frozen=True)
class Classes:
    """The images of a batch against the weights of all classes.

    Attributes:
        rows: `(b, j, d)`, float32, of any length: this replica's images.
        weights: `(j, n, d)`, float32, of any length: one vector for each class.
        own: `(b, n)`, float32: 1 at each image's class, else 0.
    """

    rows: Any
    weights: Any
    own: Any

    def cosines(self) -> Any:
        """Return the cosines `(j, b, n)`; 0 for a zero vector."""
        rows, weights = unit_vectors(self.rows), unit_vectors(self.weights)
        return ops.einsum("bjd,jnd->jbn", rows, weights)

    def squared_distances(self) -> Any:
        """Return the squared distances `(j, b, n)` of the unit vectors."""
        vectors = unit_vectors(self.rows), unit_vectors(self.weights)
        rows, weights = (ops.sum(ops.square(v), axis=-1) for v in vectors)
        lengths = ops.transpose(rows)[:, :, None] + weights[:, None, :]
        return ops.relu(lengths - 2 * self.cosines())

    def cross_entropy(self, logits: Any) -> Any:
        """Return each image's cross-entropy in the softmax over classes.

        Args:
            logits: `(j, b, n)`.

        Returns:
            `(b,)`, the mean over the learners.
        """
        costs = ops.logsumexp(logits, axis=-1) - ops.sum(self.own * logits, axis=-1)
        return ops.mean(costs, axis=0)


def classes_of(labels: Any, embeddings: Any, weights: Any) -> Classes:
    """Compare the rows of this replica with the weights of all classes.

    Args:
        labels: `(b,)` or `(b, 1)`, class numbers 0 <= y < n of any type. Any other
            number makes its image's loss NaN, as it names no class.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners, of any floating
            type.
        weights: `(n, d)`, or `(j, n, d)` for several learners.

    Returns:
        The classes.

    Raises:
        UsageError: If the shapes are not those above.
    """
    numbers, rows = class_numbers(labels), by_learner(embeddings)
    weights = ops.cast(ops.convert_to_tensor(weights), "float32")
    weights = weights[None] if len(weights.shape) == 2 else weights
    if rows.shape[1] != weights.shape[0] or rows.shape[-1] != weights.shape[-1]:
        raise UsageError(
            f"embeddings have shape {tuple(embeddings.shape)}, but the classes' "
            f"weights {tuple(weights.shape)}: give learners and length alike, "
            "(b, j, d) and (j, n, d)."
        )
    every = ops.arange(weights.shape[1], dtype=numbers.dtype)
    own = ops.cast(ops.expand_dims(numbers, 1) == every, "float32")
    known = ops.sum(own, axis=1)
    # Without a Python branch, which a graph cannot have: 1, or 0 / 0.
    rows = rows * (known / known)[:, None, None]
    return Classes(rows, weights, own)


class ClassWeights(LossLayer):
    """A function of labels, embeddings and the weights of classes as a Keras layer.

    A subclass names its `function`, writes out the function's arguments in its own
    constructor, checks them and passes them on.

    Called as a layer it adds its loss to the model's (see `LossLayer`), so that `fit`
    trains the weights of the classes too. Only the optimizer of deml_tf's trainer reads
    `rate_multiplier` and `l2`; elsewhere give `GroupedAdam` both by the layer's name.

    Args:
        num_classes: Number of training classes; `deml_tf.train` fills it in.
        rate_multiplier: Factor on the learning rate of the classes' weights.
        l2: L2 penalty on the classes' weights, added to their gradients.
        arguments: Arguments of the function; each becomes an attribute.
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        num_classes: int,
        rate_multiplier: float,
        l2: float,
        arguments: dict[str, Any],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_classes, self.rate_multiplier, self.l2 = (
            num_classes,
            rate_multiplier,
            l2,
        )
        self.arguments = dict(arguments)
        for argument, value in self.arguments.items():
            setattr(self, argument, value)
        check_above_zero(num_classes=num_classes, rate_multiplier=rate_multiplier)
        check_not_negative(l2=l2)

    def build(self, labels_shape: Any, embeddings_shape: Any) -> None:
        """Make the weights, initially about as long as unit vectors.

        Args:
            labels_shape: Not used.
            embeddings_shape: `(b, d)` or `(b, j, d)`.
        """
        learners = embeddings_shape[1] if len(embeddings_shape) == 3 else 1
        d = embeddings_shape[-1]
        self.class_weights = self.add_weight(
            name="class_weights",
            shape=self.weights_shape(learners, d),
            initializer=keras.initializers.RandomNormal(stddev=d**-0.5),
        )

    def weights_shape(self, learners: int, d: int) -> tuple[int, ...]:
        """Return the shape of the weights.

        Args:
            learners: J.
            d: Length of an embedding.
        """
        return learners, self.num_classes, d

    def call(self, labels: Any, embeddings: Any) -> Any:
        """Return one value for each image, `(b,)`.

        Args:
            labels: `(b,)` or `(b, 1)`, class numbers below `num_classes`.
            embeddings: `(b, d)` or `(b, j, d)`.
        """
        try:
            return type(self).function(
                labels, embeddings, self.class_weights, **self.arguments
            )
        except UsageError as error:
            raise UsageError(f"{type(self).__name__}: {error}") from error

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {
            "num_classes": self.num_classes,
            "rate_multiplier": self.rate_multiplier,
            "l2": self.l2,
        }
        return {**super().get_config(), **own, **self.arguments}
