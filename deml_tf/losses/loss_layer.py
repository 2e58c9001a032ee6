"""What the losses that are layers have in common."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.replicas import replica_number


class LossLayer(keras.layers.Layer):
    """A loss with variables of its own, as a Keras layer of labels and embeddings.

    In a functional model it is called as a layer, `layer(labels, embeddings)`, gives
    one value an image, and adds the mean of them to the model's losses, so that `fit`
    follows it; under several replicas Keras divides what layers add. `call` adds
    nothing: so does deml_tf's trainer use it.

    Args:
        **kwargs: Of `keras.layers.Layer`. The type is float32, unless it is given.
    """

    rate_multiplier = 1.0
    l2 = 0.0

    def __init__(self, **kwargs: Any):
        # Keras would round labels that are floats, were it to cast for the layer.
        super().__init__(**{"dtype": "float32", **kwargs}, autocast=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return one value for each image, and add their mean to the losses."""
        values = super().__call__(*args, **kwargs)
        if ops.is_tensor(values):  # and not the outline of one
            # The last batch may leave a replica no images, whose mean is no number.
            rows = ops.maximum(ops.shape(values)[0], 1)
            self.add_loss(ops.sum(values) / ops.cast(rows, values.dtype))
        return values

    @property
    def _losses(self) -> list[Any]:
        """Keras's list of what the layer has added, here one for each replica.

        Replicas are traced in turns: where one exchanges rows, the next goes on. One
        list would hold what the others have added, or lose it as they begin.
        """
        added = self.__dict__.setdefault("_added", {})
        return added.setdefault(replica_number(), [])

    @_losses.setter
    def _losses(self, losses: list[Any]) -> None:
        self.__dict__["_added"] = {replica_number(): losses}

    def compute_output_shape(self, labels_shape: Any, embeddings_shape: Any) -> Any:
        """Return `(b,)`."""
        return tuple(embeddings_shape[:1])
