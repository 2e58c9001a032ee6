"""The linear map from pooled features to a learner's part of the embedding."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="deml_tf")
class Projection(keras.layers.Layer):
    """Project each learner's pooled features, without bias.

    e_j = W x_j, with x_j = mean_hw(V_j) (Chen & Deng, CVPR 2019). The release shares
    one W among the learners of a scale, which then differ in their gates alone.

    Args:
        units: d, the size of one learner's part.
        shared: Whether all learners have one kernel, as in the release; default True.
        kernel_initializer: Default "glorot_uniform".
        **kwargs: As for any Keras layer.

    Departure from the release: Glorot's uniform range is sqrt(6 / (fan in + fan out)),
    whereas Caffe's xavier filler uses the fan in alone. So rows start longer: with 1024
    features and d = 56, their squared norm is 1.9 instead of 1.
    """

    def __init__(
        self,
        units: int,
        shared: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs,
    ):
        """Keep the arguments; see the class."""
        super().__init__(**kwargs)
        self.units = units
        self.shared = shared
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make one kernel (c, d) if shared, else one for each learner.

        Args:
            input_shape: (b, j, c).
        """
        _, learners, channels = input_shape
        shape = (channels, self.units)
        # One weight per kernel, so that the initializer sees fans of (c, d).
        self.kernels = [
            self.add_weight(name=f"kernel_{j}", shape=shape, initializer=self._drawn(j))
            for j in range(1 if self.shared else learners)
        ]
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        """Project.

        Args:
            inputs: (b, j, c), the learners' pooled features.

        Returns:
            (b, j, d), the parts, not normalised.
        """
        if self.shared:
            return tf.einsum("bjc,cd->bjd", inputs, self.kernels[0])
        kernels = tf.stack([tf.convert_to_tensor(kernel) for kernel in self.kernels])
        return tf.einsum("bjc,jcd->bjd", inputs, kernels)

    def _drawn(self, learner: int) -> Any:
        """Return the initializer of a kernel, with a seed of its own."""
        initializer: Any = self.kernel_initializer
        config = initializer.get_config() if learner else {}
        if "seed" not in config or isinstance(config["seed"], dict):
            return initializer  # a SeedGenerator gives a new seed each time
        if config["seed"] is not None:
            config["seed"] += learner
        return type(initializer).from_config(config)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (b, j, d)."""
        return (*input_shape[:2], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "shared": self.shared,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
