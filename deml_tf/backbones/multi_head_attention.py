"""Keras's attention, but frozen where it was saved so."""

from typing import Any

import keras


# Of the same name as Keras's, by which a .weights.h5 file knows it.
@keras.saving.register_keras_serializable(package="deml_tf")
class MultiHeadAttention(keras.layers.MultiHeadAttention):
    """Attends as Keras's layer does, whose inner layers are trainable when loaded."""

    def _get_common_kwargs_for_sublayer(self) -> dict[str, Any]:
        """Hand on `trainable` as well."""
        return super()._get_common_kwargs_for_sublayer() | {"trainable": self.trainable}
