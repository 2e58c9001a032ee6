"""What the pair losses have in common as Keras losses."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.pairs import PAIRS


class PairLoss(keras.losses.Loss):
    """A function of labels and embeddings as a Keras loss.

    A subclass names its `function`, writes out the function's arguments in its own
    constructor, checks them and passes them on. Labels stay the numbers they are,
    whatever Keras's `floatx` is.

    Args:
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone.
        reduction: As in `keras.losses.Loss`. "sum_over_batch_size" is the formula,
            which Keras also divides by the number of replicas.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`: the type of its embeddings and of the sum.
        **arguments: Arguments of the function; each becomes an attribute.

    Raises:
        UsageError: If `pairs` is unknown.
    """

    function: ClassVar[Callable[..., Any]]
    takes_lengths: bool = False
    """Whether the lengths of the embeddings matter; training then keeps them."""

    def __init__(
        self, pairs: str, reduction: str, name: str, dtype: Any, **arguments: Any
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check_one_of(PAIRS, pairs=pairs)
        self.arguments = {**arguments, "pairs": pairs}
        for argument, value in self.arguments.items():
            setattr(self, argument, value)
        self._given = {"dtype": self.dtype} if dtype else {}

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss, as every Keras loss does.

        Args:
            y_true: Labels, `(b,)` or `(b, 1)`. Keras itself would turn them into
                floats, so that large class numbers would merge.
            y_pred: Embeddings, `(b, d)` or `(b, j, d)`.
            sample_weight: A factor on each anchor; None, the default, is 1.
        """
        return _Labelled(self, y_true)((), y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any, references: Any = None) -> Any:
        """Return one value for each anchor, `(b,)`.

        Args:
            y_true: Labels, `(b,)` or `(b, 1)`.
            y_pred: Embeddings, `(b, d)` or `(b, j, d)`.
            references: Labels and embeddings to compare the batch with instead of
                itself; default None.
        """
        try:
            return type(self).function(
                y_true, y_pred, references=references, **self.arguments
            )
        except UsageError as error:
            raise UsageError(f"{type(self).__name__}: {error}") from error

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"reduction": self.reduction, "name": self.name}
        return {**self.arguments, **own, **self._given}


class _Labelled(keras.losses.Loss):
    """A loss together with its labels, which Keras does not see."""

    def __init__(self, loss: keras.losses.Loss, labels: Any):
        super().__init__(loss.name, loss.reduction, loss.dtype)
        self.loss, self.labels = loss, labels

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return one value for each anchor, `(b,)`."""
        return self.loss.call(self.labels, y_pred)


def check_above_zero(**constants: float) -> None:
    """Refuse constants that are not finite numbers above 0.

    Args:
        **constants: By the names of their arguments.

    Raises:
        UsageError: If one is not.
    """
    for name, value in constants.items():
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name}={value}: it must be a number above 0.")


def check_not_negative(**constants: float) -> None:
    """Refuse constants that are not finite numbers of at least 0.

    Args:
        **constants: By the names of their arguments.

    Raises:
        UsageError: If one is not.
    """
    for name, value in constants.items():
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name}={value}: it must be a number of at least 0.")


def check_cosine(**constants: float) -> None:
    """Refuse constants that are compared with cosines and lie outside [-1, 1].

    Args:
        **constants: By the names of their arguments.

    Raises:
        UsageError: If one does.
    """
    for name, value in constants.items():
        if not -1 <= value <= 1:
            raise UsageError(
                f"{name}={value}: it must be in [-1, 1], for cosines are compared "
                "with it."
            )


def check_one_of(choices: tuple[str, ...], **arguments: str) -> None:
    """Refuse a value that is not one of the choices.

    Args:
        choices: What is allowed.
        **arguments: By their names.

    Raises:
        UsageError: If one is not among them.
    """
    for name, value in arguments.items():
        if value not in choices:
            raise UsageError(f"{name}={value!r}: use one of {', '.join(choices)}.")
