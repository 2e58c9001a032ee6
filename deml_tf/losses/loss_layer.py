"""What the losses that are layers have in common."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.replicas import replica_number


class LossLayer(keras.layers.Layer):
    """A loss with variables of its own, as a Keras layer of labels and embeddings.

    In a functional model, `layer(labels, embeddings)` returns one value per image and
    adds their mean to the model's losses, so that `fit` minimises it; Keras divides
    what layers add by the number of replicas. `call`, which deml_tf's trainer uses,
    adds nothing.

    Args:
        **kwargs: As for any Keras layer; `dtype` is float32 unless given.
    """

    rate_multiplier = 1.0
    l2 = 0.0

    def __init__(self, **kwargs: Any):
        # With autocast Keras would round labels that are floats.
        super().__init__(**{"dtype": "float32", **kwargs}, autocast=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return one value for each image, and add their mean to the losses."""
        values = super().__call__(*args, **kwargs)
        if ops.is_tensor(values):  # and not a symbolic one
            # The last batch may leave a replica without images; their mean is NaN.
            rows = ops.maximum(ops.shape(values)[0], 1)
            self.add_loss(ops.sum(values) / ops.cast(rows, values.dtype))
        return values

    @property
    def _losses(self) -> list[Any]:
        """Keras's list of what the layer has added, here one list for each replica.

        Replicas are traced in turns: where one exchanges rows, the next continues. A
        single list would hold what the others have added, or lose it when they begin.
        """
        added = self.__dict__.setdefault("_added", {})
        return added.setdefault(replica_number(), [])

    @_losses.setter
    def _losses(self, losses: list[Any]) -> None:
        self.__dict__["_added"] = {replica_number(): losses}

    def compute_output_shape(self, labels_shape: Any, embeddings_shape: Any) -> Any:
        """Return `(b,)`."""
        return tuple(embeddings_shape[:1])
