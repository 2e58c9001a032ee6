"""The linear map from pooled features to a learner's part of the embedding."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="deml_tf")
class Projection(keras.layers.Layer):
    """Projects each learner's pooled features: `e_j = W . x_j`, without bias.

    The release shares one `W` among the learners of a scale; what tells the
    learners apart is then their gates alone (method: `e_ij = W_i . mean_hw(V_j)`).

    Args:
        units: Size `d` of one learner's part.
        shared: One kernel for all learners (the release), else one for each.
        kernel_initializer: Xavier (glorot_uniform), as the release.
        **kwargs: Keras layer arguments.

    Input shape: `(b, j, c)`. Output shape: `(b, j, units)`.
    """

    def __init__(
        self,
        units: int,
        shared: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.shared = shared
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Creates one kernel `(c, d)` when shared, else one for each learner."""
        _, learners, channels = input_shape
        shape = (channels, self.units)
        # One weight a kernel, so that the initializer sees fans of (c, d).
        self.kernels = [
            self.add_weight(
                name=f"kernel_{j}", shape=shape, initializer=self.kernel_initializer
            )
            for j in range(1 if self.shared else learners)
        ]
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        """Returns the parts `(b, j, d)`, not normalised."""
        if self.shared:
            return tf.einsum("bjc,cd->bjd", inputs, self.kernels[0])
        kernels = tf.stack([tf.convert_to_tensor(kernel) for kernel in self.kernels])
        return tf.einsum("bjc,jcd->bjd", inputs, kernels)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """`(b, j, c)` to `(b, j, units)`."""
        return (*input_shape[:2], self.units)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "shared": self.shared,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
