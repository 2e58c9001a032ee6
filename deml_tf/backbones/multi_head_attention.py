"""Keras's attention, which stays frozen if it was saved frozen."""

from typing import Any

import keras


# It has the same name as Keras's, which .weights.h5 files refer to.
@keras.saving.register_keras_serializable(package="deml_tf")
class MultiHeadAttention(keras.layers.MultiHeadAttention):
    """Keras's layer, but when a frozen one is loaded its inner layers stay frozen."""

    def _get_common_kwargs_for_sublayer(self) -> dict[str, Any]:
        """Pass on `trainable` as well."""
        return super()._get_common_kwargs_for_sublayer() | {"trainable": self.trainable}
